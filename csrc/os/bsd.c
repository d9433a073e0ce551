/* macOS and FreeBSD: signals, sleeping, and what only Linux has. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "../child/child.h"
#include "bsd.h"
#include "bsd_signals.h"

const int sidos_any_child = 0; /* every child has an exit signal */

/* No set that libc takes leaves out what a child could get: what FreeBSD's threads use among themselves (SIGTHR) they
   send to threads. */
void sidos_block(struct sidos_blocked *was)
{
    uint64_t words[2] = {0};
    sigset_t all, old;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &was->cancellation);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (int signal = 1; signal <= SIDOS_LAST_SIGNAL; signal++)
        if (sigismember(&old, signal) == 1)
            words[(signal - 1) / 64] |= (uint64_t)1 << (signal - 1) % 64;
    was->mask = words[0];
    was->more = words[1];
}

/* The kernel changes the ids of all threads by itself. */
void sidos_block_all_but_libcs(struct sidos_blocked *was)
{
    sidos_block(was);
}

void sidos_unblock(const struct sidos_blocked *was)
{
    sigset_t old = sidos_as_set(was->mask, was->more);

    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_setcancelstate(was->cancellation, NULL);
}

/* The priority and the parent-death signal (FreeBSD) are the process's here. */
int sidos_is_main_thread(void)
{
    return 1;
}

/* Credentials too, so that a child's calls serve. */
const struct sidch_ids *sidos_process_ids(void)
{
    return &sidch_os_ids;
}

static int milliseconds(const struct timespec *time)
{
    const time_t most = 1000000; /* whoever sleeps for longer looks at the clock and sleeps again */

    return time->tv_sec >= most ? (int)most * 1000 : (int)(time->tv_sec * 1000 + (time->tv_nsec + 999999) / 1000000);
}

/* macOS has no ppoll. A sleep on no file is often shorter than a millisecond. */
int sidos_poll(struct pollfd *files, unsigned count, const struct timespec *timeout)
{
    int ready = count ? poll(files, count, milliseconds(timeout)) : nanosleep(timeout, NULL);

    return ready < 0 ? -errno : ready;
}

/* Nobody wakes us: it is looked again. */
void sidos_await_word(uint32_t *word, uint32_t value, int milliseconds)
{
    const struct timespec time = {0, milliseconds * 1000000L};

    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
        nanosleep(&time, NULL);
}

/* What the kernel says where there is none. */
int sidos_foreground(int group)
{
    return group == SIDOS_NO_GROUP ? 0 : group;
}

int sidos_open_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

/* There are no control groups. */
int sidos_check_cgroup(int fd)
{
    (void)fd;
    return -ENOSYS;
}

/* Nor pid namespaces: a FreeBSD jail's processes have numbers of their own nowhere. */
int sidos_next_child_is_init(void)
{
    return 0;
}
