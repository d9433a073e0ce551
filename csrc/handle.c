/* The life of a handle: the users of its pidfd, its lock, its end. */
#include "handle.h"

#include <fcntl.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

/* Somebody may have closed all files, as a daemon does: the number is not the child's any more then. */
static void forget_lost_pidfd(struct sid_child *child)
{
    int fd = sidh_is_set(&child->pidfd);

    if (fd >= 0 && !sidos_is_that_pidfd(fd, child->file))
        __atomic_compare_exchange_n(&child->pidfd, &fd, sidos_has_pidfds ? SID_PIDFD_LOST : SID_PIDFD_NONE, 0,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* The users, with the process that they are threads of: in a forked copy there is none yet but the handle itself. */
static uint64_t users_here(int count)
{
    return (uint64_t)getpid() << 32 | (uint32_t)count;
}

static void end_use(struct sid_child *child)
{
    int had_one = child->pidfd >= 0;

    forget_lost_pidfd(child);
    if (child->session && child->leader >= 0 && sidos_is_that_pidfd(child->leader, child->leader_file))
        close(child->leader);
    child->leader = -1;
    if (child->pidfd >= 0)
        close(child->pidfd);
    if (had_one)
        __atomic_store_n(&child->pidfd, SID_PIDFD_CLOSED, __ATOMIC_RELEASE);
}

/* The number of users, once those that a fork has left behind are not counted any more. */
static uint32_t count_here(struct sid_child *child, uint64_t *users)
{
    uint64_t none = users_here(0);

    *users = __atomic_load_n(&child->users, __ATOMIC_ACQUIRE);
    while (*users && *users >> 32 != none >> 32) { /* 0: there has never been a pidfd */
        uint64_t here = none | (uint64_t)sidh_is_set(&child->kept);
        if (!__atomic_compare_exchange_n(&child->users, users, here, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            continue;
        *users = here;
        if (here == none) /* the fork came when the last one was about to close it */
            end_use(child);
    }
    return (uint32_t)*users;
}

int sidh_hold(struct sid_child *child)
{
    uint64_t users;

    do
        if (count_here(child, &users) == 0)
            return -EBADF;
    while (!__atomic_compare_exchange_n(&child->users, &users, users + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    forget_lost_pidfd(child);
    return 0;
}

void sidh_hold_first(struct sid_child *child)
{
    child->kept = 1;
    __atomic_store_n(&child->users, users_here(1), __ATOMIC_RELEASE);
}

void sidh_release(struct sid_child *child)
{
    if ((uint32_t)__atomic_sub_fetch(&child->users, 1, __ATOMIC_ACQ_REL) == 0)
        end_use(child);
}

/* Counted first: who counts after a fork asks whether the handle is a user. */
void sidh_drop(struct sid_child *child)
{
    uint64_t users;

    if (count_here(child, &users) > 0 && __atomic_exchange_n(&child->kept, 0, __ATOMIC_ACQ_REL))
        sidh_release(child);
}

/* Nothing else tells whether a detached one lives: it is nobody's child here. */
static int is_lost(struct sid_child *child)
{
    return child->session && !child->start && sidh_is_set(&child->pidfd) == SID_PIDFD_LOST;
}

int sidh_enter(struct sid_child *child)
{
    if (sidh_is_set(&child->reaped))
        return 0;
    if (sidh_is_set(&child->closed) && sidh_is_set(&child->stays) <= 0) /* an `end` under way goes on */
        return -EBADF;
    if (sidh_hold(child) == 0) {
        if (!sidh_is_set(&child->reaped) && !is_lost(child))
            return 1;
        sidh_release(child);
    }
    return sidh_is_set(&child->reaped) ? 0 : -EBADF;
}

void sidh_lock(struct sid_child *child)
{
    const struct timespec moment = {0, 20000};
    int self = getpid(), holder = 0;

    while (!__atomic_compare_exchange_n(&child->lock, &holder, self, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        if (holder != self) /* free by now, or held by a thread that a fork has left behind */
            continue;
        nanosleep(&moment, NULL); /* not sched_yield: the holder may have a lower priority */
        holder = 0;
    }
}

void sidh_unlock(struct sid_child *child)
{
    __atomic_store_n(&child->lock, 0, __ATOMIC_RELEASE);
}

int sid_close(struct sid_child *child)
{
    int was_closed;

    sidh_lock(child);
    was_closed = child->closed;
    __atomic_store_n(&child->closed, 1, __ATOMIC_RELEASE);
    sidh_unlock(child);
    if (was_closed)
        return 0;
    if (!sidh_is_set(&child->reaped) && child->owner == getpid())
        return 1;
    sidh_drop(child);
    return 0;
}

int sid_forget(struct sid_child *child)
{
    sidh_drop(child);
    return 0;
}

/* A pidfd whose number somebody knows stays open; one that nobody knows goes when the child is reaped. Who asks after
   that gets another file that is readable. */
static int fileno_locked(struct sid_child *child)
{
    int is_held, fd;

    if (sidh_is_set(&child->closed))
        return -EBADF;
    is_held = sidh_hold(child) == 0; /* which sees whether it is lost; nobody may close it meanwhile */
    fd = sidh_is_set(&child->pidfd);
    if (is_held && (fd < 0 || sidh_is_set(&child->kept)))
        sidh_release(child);
    if (fd == SID_PIDFD_NONE)
        return -ENOSYS;
    if (fd == SID_PIDFD_LOST)
        return -EBADF;
    child->shared = 1;
    if (is_held) { /* perhaps reaped, but a thread still used it: keep it after all */
        child->kept = 1;
        return fd;
    }
    while (sidh_is_set(&child->pidfd) >= 0)
        sched_yield(); /* the last user is about to close it */
    if ((fd = sidos_open_readable()) < 0)
        return fd;
    child->pidfd = fd;
    child->file = sidos_mark_pidfd(fd);
    sidh_hold_first(child);
    return fd;
}

int sid_fileno(struct sid_child *child)
{
    int fd;

    sidh_lock(child);
    fd = fileno_locked(child);
    sidh_unlock(child);
    return fd;
}

int sid_dup_pidfd(struct sid_child *child)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return result < 0 ? result : -ESRCH;
    result = child->pidfd < 0 ? -ENOSYS : fcntl(child->pidfd, F_DUPFD_CLOEXEC, 3);
    result = result == -1 ? -errno : result;
    sidh_release(child);
    return result;
}

int sid_watch_child(struct sid_child *child, int *pidfd)
{
    int result = sid_dup_pidfd(child);

    *pidfd = result < 0 ? -1 : result;
    return result < 0 ? result : 0;
}
