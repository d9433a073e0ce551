/*
 * A thread that lives as long as the process, to be the parent of children with a parent-death signal.
 *
 * The kernel sends that signal when the thread that made the child ends, and a pool's thread ends when it has been idle
 * for a while. The helper is made on first use. A forked copy of the process has none, and makes its own.
 */
#include <pthread.h>
#include <signal.h>

#include "making.h"

enum { STACK_SIZE = 256 * 1024 };

struct errand {
    struct sidos_start *start;
    int result;
    int is_done;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct errand *current;
static int is_running;

/* In a forked child: its copy of the lock may be held by a thread that is not there. */
static void forget(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&changed, NULL);
    current = NULL;
    is_running = 0;
}

static void set_up(void)
{
    pthread_atfork(NULL, NULL, forget);
}

/* Signals are blocked around the child's making as in any other thread. All of them at all times would not do: libc
   has all threads of a process change their credentials by a signal of its own. */
static void run(struct errand *errand)
{
    struct sidos_blocked was;

    sidos_block(&was);
    errand->result = sidos_start_child(errand->start);
    sidos_unblock(&was);
}

static void *serve(void *unused)
{
    (void)unused;
    sidos_name_thread("setsid-helper");
    pthread_mutex_lock(&lock);
    for (;;) {
        struct errand *errand = current;
        if (!errand || errand->is_done) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        pthread_mutex_unlock(&lock);
        run(errand);
        pthread_mutex_lock(&lock);
        errand->is_done = 1;
        pthread_cond_broadcast(&changed);
    }
    return NULL;
}

/* Under the lock. The new thread inherits the caller's mask, in which all signals are blocked; it takes back libc's. */
static int start_helper(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, old;
    size_t usual_size;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* sigfillset leaves out libc's own */
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_getstacksize(&attributes, &usual_size);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    error = pthread_create(&thread, &attributes, serve, NULL);
    if (error == EINVAL) { /* glibc puts all libraries' thread-local variables there, and they don't fit */
        pthread_attr_setstacksize(&attributes, usual_size);
        error = pthread_create(&thread, &attributes, serve, NULL);
    }
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    is_running = error == 0;
    return -error;
}

int sidh_start_on_helper(struct sidos_start *start, enum sid_call *call)
{
    struct errand errand = {.start = start};
    int result = 0;

    if (sidos_next_child_is_init()) { /* a thread could not be made here either: the namespace would get lost */
        *call = SID_CALL_PTHREAD_CREATE;
        return -EINVAL;
    }
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    if (!is_running)
        result = start_helper();
    if (result < 0) {
        *call = SID_CALL_PTHREAD_CREATE;
        pthread_mutex_unlock(&lock);
        return result;
    }
    while (current)
        pthread_cond_wait(&changed, &lock);
    current = &errand;
    pthread_cond_broadcast(&changed);
    while (!errand.is_done)
        pthread_cond_wait(&changed, &lock);
    current = NULL;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return errand.result;
}
