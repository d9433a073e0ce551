/* Waiting for a child, reaping it once, signalling it. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

static int is_set(const int *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

/* Users of the pidfd: its number must not be closed, and given to another file, while a thread waits on it. */
static int hold(struct sid_child *child)
{
    int refs = is_set(&child->refs);

    do
        if (refs == 0)
            return -EBADF;
    while (!__atomic_compare_exchange_n(&child->refs, &refs, refs + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return 0;
}

static void release(struct sid_child *child)
{
    if (__atomic_sub_fetch(&child->refs, 1, __ATOMIC_ACQ_REL) > 0 || child->pidfd < 0)
        return;
    close(child->pidfd);
    __atomic_store_n(&child->pidfd, SID_PIDFD_CLOSED, __ATOMIC_RELEASE);
}

/* Gives up the handle's own use of the pidfd. In a forked copy of it the other users are gone. */
static void drop(struct sid_child *child)
{
    if (!__atomic_exchange_n(&child->kept, 0, __ATOMIC_ACQ_REL))
        return;
    if (child->owner != getpid())
        child->refs = 1;
    release(child);
}

/* 1: the child is held, release it; 0: it has been reaped, so there is nothing to hold; -EBADF: closed. */
static int enter(struct sid_child *child)
{
    if (is_set(&child->reaped))
        return 0;
    if (is_set(&child->closed) && is_set(&child->stays) <= 0) /* an `end` under way goes on */
        return -EBADF;
    if (hold(child) == 0) {
        if (!is_set(&child->reaped))
            return 1;
        release(child);
    }
    return is_set(&child->reaped) ? 0 : -EBADF;
}

/* Held for moments, and never across Python: a signal handler can't meet it locked. A copy of it that a fork took while
   it was locked belongs to nobody. */
static void lock(struct sid_child *child)
{
    const struct timespec moment = {0, 20000};

    while (__atomic_exchange_n(&child->lock, 1, __ATOMIC_ACQUIRE)) {
        if (child->owner != getpid())
            return;
        nanosleep(&moment, NULL); /* not sched_yield: the holder may have a lower priority */
    }
}

static void unlock(struct sid_child *child)
{
    __atomic_store_n(&child->lock, 0, __ATOMIC_RELEASE);
}

int sid_close(struct sid_child *child)
{
    int was_closed;

    lock(child);
    was_closed = child->closed;
    __atomic_store_n(&child->closed, 1, __ATOMIC_RELEASE);
    unlock(child);
    if (was_closed)
        return 0;
    if (!is_set(&child->reaped) && child->owner == getpid())
        return 1;
    drop(child);
    return 0;
}

int sid_forget(struct sid_child *child)
{
    drop(child);
    return 0;
}

/* A pidfd whose number somebody knows stays open; one that nobody knows goes when the child is reaped. Who asks after
   that gets another file that is readable. */
static int fileno_locked(struct sid_child *child)
{
    int fd;

    if (is_set(&child->closed))
        return -EBADF;
    if (child->pidfd == SID_PIDFD_NONE)
        return -ENOSYS;
    child->shared = 1;
    if (is_set(&child->kept))
        return child->pidfd;
    if (hold(child) == 0) { /* reaped, but a thread still uses it: keep it after all */
        child->kept = 1;
        return child->pidfd;
    }
    while (is_set(&child->pidfd) != SID_PIDFD_CLOSED && child->owner == getpid())
        sched_yield(); /* the last user is about to close it; in a forked copy, nobody is */
    if ((fd = sidos_open_readable()) < 0)
        return fd;
    child->pidfd = fd;
    child->kept = 1;
    __atomic_store_n(&child->refs, 1, __ATOMIC_RELEASE);
    return fd;
}

int sid_fileno(struct sid_child *child)
{
    int fd;

    lock(child);
    fd = fileno_locked(child);
    unlock(child);
    return fd;
}

int sid_dup_pidfd(struct sid_child *child)
{
    int result = enter(child);

    if (result <= 0)
        return result < 0 ? result : -ESRCH;
    result = child->pidfd < 0 ? -ENOSYS : fcntl(child->pidfd, F_DUPFD_CLOEXEC, 3);
    result = result == -1 ? -errno : result;
    release(child);
    return result;
}

static void record(struct sid_child *child, int code, int status)
{
    child->returncode = code == CLD_EXITED ? status : -status;
    child->dumped = code == CLD_DUMPED;
    __atomic_store_n(&child->ended, 1, __ATOMIC_RELEASE);
}

static void record_status(struct sid_child *child, int status)
{
    if (WIFEXITED(status))
        record(child, CLD_EXITED, WEXITSTATUS(status));
    else
        record(child, WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED, WTERMSIG(status));
}

static void mark_reaped(struct sid_child *child)
{
    __atomic_store_n(&child->reaped, 1, __ATOMIC_RELEASE);
    if (!child->shared)
        drop(child);
}

/* Somebody else has reaped the child: a wait for any child, or the kernel because SIGCHLD is ignored. */
static int reaped_elsewhere(struct sid_child *child)
{
    int status;

    if (!is_set(&child->ended)) {
        if (child->owner != getpid() || sidos_status_of_reaped(child->pidfd, &status) < 0)
            return -ECHILD;
        record_status(child, status);
    }
    mark_reaped(child);
    return 1;
}

int sid_reaped_elsewhere(struct sid_child *child, int status)
{
    lock(child);
    if (!is_set(&child->ended))
        record_status(child, status);
    if (!is_set(&child->reaped))
        mark_reaped(child);
    unlock(child);
    return 0;
}

static int reap_locked(struct sid_child *child)
{
    struct sidos_ended ended;
    int result;

    int stays = is_set(&child->stays) > 0 ? WNOWAIT : 0;

    if (is_set(&child->reaped))
        return 1;
    result = sidos_wait(child->pid, child->pidfd, WEXITED | WNOHANG | stays, &ended);
    if (result == -ECHILD)
        return reaped_elsewhere(child);
    if (result < 0 || !ended.code)
        return result;
    memcpy(child->usage, ended.usage, sizeof child->usage);
    __atomic_store_n(&child->has_usage, 1, __ATOMIC_RELEASE);
    record(child, ended.code, ended.status);
    if (!stays)
        mark_reaped(child);
    return 1;
}

int sid_stay(struct sid_child *child, int more)
{
    return __atomic_add_fetch(&child->stays, more, __ATOMIC_ACQ_REL);
}

int sid_ended(struct sid_child *child)
{
    return is_set(&child->ended) | is_set(&child->has_usage) << 1;
}

/* Closed ones too: what nobody holds any more is reaped at last. */
int sid_reap(struct sid_child *child)
{
    int result;

    if (is_set(&child->reaped))
        return 1;
    if (hold(child) < 0)
        return is_set(&child->reaped) ? 1 : -EBADF;
    lock(child);
    result = reap_locked(child);
    unlock(child);
    release(child);
    return result;
}

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static struct timespec as_timespec(int64_t nanoseconds)
{
    return (struct timespec){.tv_sec = (time_t)(nanoseconds / 1000000000), .tv_nsec = (long)(nanoseconds % 1000000000)};
}

/* How a timed wait sleeps: on the pidfd, or for moments that grow to 20 ms where there is none, or where it has told of
   an end that waitid does not know yet (a debugger holds the zombie). */
struct sleeper {
    int fd;
    int64_t moment;
};

static struct sleeper sleeper_on(const struct sid_child *child)
{
    return (struct sleeper){.fd = child->pidfd, .moment = 50000};
}

static int sleep_on(struct sleeper *sleeper, int64_t most)
{
    struct pollfd wait = {.fd = sleeper->fd, .events = POLLIN};
    struct timespec time;
    int ready;

    if (sleeper->fd < 0) {
        sleeper->moment = sleeper->moment < 10000000 ? sleeper->moment * 2 : 20000000;
        most = most < sleeper->moment ? most : sleeper->moment;
    }
    time = as_timespec(most);
    ready = ppoll(&wait, sleeper->fd >= 0, &time, NULL);
    if (ready > 0)
        sleeper->fd = -1;
    return ready < 0 ? -errno : 0;
}

/* The state that waitid tells of, without taking it. */
static int look(const struct sid_child *child, int options, struct sidos_ended *ended)
{
    return sidos_wait(child->pid, child->pidfd, options | WNOWAIT, ended);
}

static int wait_until(struct sid_child *child, int64_t deadline)
{
    struct sleeper sleeper = sleeper_on(child);
    struct sidos_ended ended;

    for (;;) {
        int result = look(child, WEXITED | WNOHANG, &ended);
        int64_t left = deadline - now();
        if (result < 0 || ended.code) {
            if (result == 0)
                record(child, ended.code, ended.status);
            return result;
        }
        if (left <= 0)
            return -ETIMEDOUT;
        if ((result = sleep_on(&sleeper, left)) < 0)
            return result;
    }
}

static int64_t deadline_of(int64_t timeout)
{
    int64_t start = now();

    return timeout > INT64_MAX - start ? INT64_MAX : start + timeout;
}

static int wait_end(struct sid_child *child, int64_t timeout)
{
    struct sidos_ended ended;
    int result;

    if (is_set(&child->ended))
        return 0;
    if (timeout >= 0)
        return wait_until(child, deadline_of(timeout));
    result = look(child, WEXITED, &ended);
    if (result == 0)
        record(child, ended.code, ended.status);
    return result;
}

/* Sleeps without reaping, then reaps without sleeping: two threads may wait, and both learn the status. */
int sid_wait(struct sid_child *child, int64_t timeout, int reap)
{
    int result = enter(child);

    if (result <= 0)
        return result;
    result = wait_end(child, timeout);
    if (result == -ECHILD || (result == 0 && reap)) {
        lock(child);
        result = reap_locked(child) < 0 ? -ECHILD : 0;
        unlock(child);
    }
    release(child);
    return result;
}

/* Takes a stop or continuation that was seen, so that the next wait sees the next one. */
static int take_change(struct sid_child *child, const struct sidos_ended *seen)
{
    struct sidos_ended taken;

    if (seen->code != CLD_STOPPED && seen->code != CLD_TRAPPED && seen->code != CLD_CONTINUED) {
        record(child, seen->code, seen->status);
        return SID_CHANGE_DONE;
    }
    if (sidos_wait(child->pid, child->pidfd, WSTOPPED | WCONTINUED | WNOHANG, &taken) == 0 && taken.code)
        seen = &taken; /* it may have gone on meanwhile */
    return seen->code == CLD_CONTINUED ? SID_CHANGE_CONTINUED : SID_CHANGE_STOPPED;
}

/* No fd tells of a stop, so a timed wait looks every 10 ms; the end it hears of at once. */
static int change_until(struct sid_child *child, int64_t deadline, struct sidos_ended *seen)
{
    const int64_t slice = 10000000;
    struct sleeper sleeper = sleeper_on(child);

    for (;;) {
        int result = look(child, WEXITED | WSTOPPED | WCONTINUED | WNOHANG, seen);
        int64_t left = deadline - now();
        if (result < 0 || seen->code)
            return result;
        if (left <= 0)
            return -ETIMEDOUT;
        if ((result = sleep_on(&sleeper, left < slice ? left : slice)) < 0)
            return result;
    }
}

int sid_wait_change(struct sid_child *child, int64_t timeout)
{
    struct sidos_ended seen;
    int result;

    if (is_set(&child->ended))
        return SID_CHANGE_DONE;
    if ((result = enter(child)) <= 0)
        return result < 0 ? result : SID_CHANGE_DONE;
    result = timeout < 0 ? look(child, WEXITED | WSTOPPED | WCONTINUED, &seen)
                         : change_until(child, deadline_of(timeout), &seen);
    if (result == 0)
        result = take_change(child, &seen);
    release(child);
    return result == -ECHILD && sid_reap(child) == 1 ? SID_CHANGE_DONE : result;
}

/* Under the lock we don't reap it, but somebody else may have: then the number may be another's. */
static int is_ours_locked(const struct sid_child *child)
{
    struct sidos_ended ended;

    return !is_set(&child->reaped) && look(child, WEXITED | WNOHANG, &ended) == 0;
}

int sid_is_ours(struct sid_child *child)
{
    int result = enter(child);

    if (result <= 0)
        return 0;
    lock(child);
    result = is_ours_locked(child);
    unlock(child);
    release(child);
    return result;
}

static int signal_by_number(struct sid_child *child, int signal)
{
    int result;

    lock(child);
    result = !is_ours_locked(child) ? -ESRCH : kill(child->pid, signal) < 0 ? -errno : 0;
    unlock(child);
    return result;
}

int sid_signal_child(struct sid_child *child, int signal)
{
    int result = enter(child);

    if (result <= 0)
        return result < 0 ? result : -ESRCH;
    result = child->pidfd >= 0 ? sidos_signal_pidfd(child->pidfd, signal) : signal_by_number(child, signal);
    release(child);
    return result;
}

static int signal_group_locked(const struct sid_child *child, int signal)
{
    pid_t group = is_ours_locked(child) ? getpgid(child->pid) : 0;

    if (group <= 1)
        return -ESRCH;
    if (group == getpgrp())
        return 1;
    return kill(-group, signal) < 0 ? -errno : 0;
}

int sid_signal_group(struct sid_child *child, int signal)
{
    int result = enter(child);

    if (result <= 0)
        return result < 0 ? result : -ESRCH;
    lock(child);
    result = signal_group_locked(child, signal);
    unlock(child);
    release(child);
    return result;
}
