/* Signals to a child and to its group, never to who got its number later. */
#include <signal.h>
#include <unistd.h>

#include "handle.h"

static int signal_by_number(struct sid_child *child, int signal)
{
    int result;

    sidh_lock(child);
    result = !sidh_is_ours_locked(child) ? -ESRCH : kill(child->pid, signal) < 0 ? -errno : 0;
    sidh_unlock(child);
    return result;
}

int sid_signal_child(struct sid_child *child, int signal)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return result < 0 ? result : -ESRCH;
    if (child->pidfd >= 0 && (sidos_has_pidfds || child->session)) /* a child's number is its own under the lock */
        result = sidos_signal_pidfd(child->pidfd, child->pid, signal);
    else
        result = signal_by_number(child, signal);
    sidh_release(child);
    return result;
}

/* The BSDs' getpgid finds no zombie, which keeps its group's number all the same; the list of processes has it. */
static pid_t group_of(const struct sid_child *child)
{
    struct sid_process process;
    pid_t group = getpgid(child->pid);

    return group < 0 && sid_process(child->pid, &process, NULL) > 0 ? process.pgid : group;
}

static int signal_group_locked(const struct sid_child *child, int signal, int wanted)
{
    pid_t group = sidh_is_ours_locked(child) ? group_of(child) : 0;

    if (group <= 1 || (wanted && group != wanted))
        return -ESRCH;
    if (group == getpgrp())
        return 1;
    return sidos_signal_group(group, signal);
}

int sid_signal_group(struct sid_child *child, int signal, int group)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return result < 0 ? result : -ESRCH;
    sidh_lock(child);
    result = signal_group_locked(child, signal, group);
    sidh_unlock(child);
    sidh_release(child);
    return result;
}

int sid_childs_group(struct sid_child *child)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return 0;
    sidh_lock(child);
    result = sidh_is_ours_locked(child) ? group_of(child) : 0;
    sidh_unlock(child);
    sidh_release(child);
    return result < 0 ? 0 : result;
}

int sid_childs_group_lives(struct sid_child *child)
{
    int result;

    if (sidh_hold(child) < 0)
        return 0;
    result = sid_group_lives(child->pidfd);
    sidh_release(child);
    return result;
}
