/* Waiting for a child: for its end or its next change, with a deadline. */
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "handle.h"

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
    ready = sidos_poll(&wait, sleeper->fd >= 0, &time);
    if (ready > 0)
        sleeper->fd = -1;
    return ready < 0 ? ready : 0;
}

static int wait_until(struct sid_child *child, int64_t deadline)
{
    struct sleeper sleeper = sleeper_on(child);
    struct sidos_ended ended;

    for (;;) {
        int result = sidh_look(child, WEXITED | WNOHANG, &ended);
        int64_t left = deadline - now();
        if (result < 0 || ended.code) {
            if (result == 0)
                sidh_record(child, ended.code, ended.status);
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

    if (sidh_is_set(&child->ended))
        return 0;
    if (timeout >= 0)
        return wait_until(child, deadline_of(timeout));
    result = sidh_look(child, WEXITED, &ended);
    if (result == -EAGAIN) /* libuv sets O_NONBLOCK on what it polls, and a pidfd's copies share it */
        return wait_until(child, INT64_MAX);
    if (result == 0)
        sidh_record(child, ended.code, ended.status);
    return result;
}

/* Sleeps without reaping, then reaps without sleeping: two threads may wait, and both learn the status. */
int sid_wait(struct sid_child *child, int64_t timeout, int reap)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return result;
    result = wait_end(child, timeout);
    if (result == -ECHILD || (result == 0 && reap)) {
        sidh_lock(child);
        result = sidh_reap_locked(child) < 0 ? -ECHILD : 0;
        sidh_unlock(child);
    }
    sidh_release(child);
    return result;
}

static int wait_until_gone(struct sid_child *child, int64_t deadline)
{
    struct sleeper sleeper = sleeper_on(child);

    while (!sidh_has_gone(child)) {
        int64_t left = deadline - now();
        int result = left <= 0 ? -ETIMEDOUT : sleep_on(&sleeper, left);
        if (result < 0)
            return result;
    }
    return 0;
}

int sid_wait_detached(struct sid_child *child, int64_t timeout)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return result;
    result = wait_until_gone(child, timeout < 0 ? INT64_MAX : deadline_of(timeout));
    sidh_release(child);
    return result;
}

/* Takes a stop or continuation that was seen, so that the next wait sees the next one. */
static int take_change(struct sid_child *child, const struct sidos_ended *seen)
{
    struct sidos_ended taken;

    if (seen->code != CLD_STOPPED && seen->code != CLD_TRAPPED && seen->code != CLD_CONTINUED) {
        sidh_record(child, seen->code, seen->status);
        return SID_CHANGE_DONE;
    }
    if (sidos_wait(child->pid, child->pidfd, WSTOPPED | WCONTINUED | WNOHANG, &taken) == 0 && taken.code)
        seen = &taken; /* it may have gone on meanwhile */
    return seen->code == CLD_CONTINUED ? SID_CHANGE_CONTINUED : SID_CHANGE_STOPPED;
}

/* No fd tells of a stop, so a timed wait looks every 10 ms; the end it hears of at once. */
static int look_until(struct sid_child *child, int options, int64_t deadline, struct sidos_ended *seen)
{
    const int64_t slice = 10000000;
    struct sleeper sleeper = sleeper_on(child);

    for (;;) {
        int result = sidh_look(child, options | WNOHANG, seen);
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
    const int options = WEXITED | WSTOPPED | WCONTINUED;
    struct sidos_ended seen;
    int result;

    if (sidh_is_set(&child->ended))
        return SID_CHANGE_DONE;
    if ((result = sidh_enter(child)) <= 0)
        return result < 0 ? result : SID_CHANGE_DONE;
    result = timeout < 0 ? sidh_look(child, options, &seen) : -EAGAIN;
    if (result == -EAGAIN) /* or it is a pidfd on which libuv has set O_NONBLOCK */
        result = look_until(child, options, timeout < 0 ? INT64_MAX : deadline_of(timeout), &seen);
    if (result == 0)
        result = take_change(child, &seen);
    sidh_release(child);
    return result == -ECHILD && sid_reap(child) == 1 ? SID_CHANGE_DONE : result;
}

/* A stop that nobody takes stays to be seen until the child goes on: so any number of threads may look and sleep, and
   each sees what is so at that moment. */
int sid_state(struct sid_child *child, int waits, int *signal)
{
    const int options = WEXITED | WSTOPPED;
    struct sidos_ended seen = {0};
    int result = sidh_is_set(&child->ended) ? 0 : sidh_enter(child);

    *signal = 0;
    if (result <= 0)
        return result < 0 ? result : SID_CHANGE_DONE;
    result = sidh_look(child, waits ? options : options | WNOHANG, &seen);
    if (result == -EAGAIN) /* as above */
        result = look_until(child, options, waits ? INT64_MAX : 0, &seen);
    sidh_release(child);
    if (result == -ECHILD)
        return sid_reap(child) == 1 ? SID_CHANGE_DONE : -ECHILD;
    if (result < 0)
        return result == -ETIMEDOUT ? SID_CHANGE_CONTINUED : result;
    if (seen.code == CLD_STOPPED || seen.code == CLD_TRAPPED) {
        *signal = seen.status;
        return SID_CHANGE_STOPPED;
    }
    return seen.code ? SID_CHANGE_DONE : SID_CHANGE_CONTINUED;
}
