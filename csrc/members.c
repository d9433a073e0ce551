/* Signals to the members of a session or a process group: by a pidfd that was opened before the membership was seen, so
   that nobody is hit who got a member's number later. */
#include "members.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "making.h"

/* EINVAL and ENOENT: the number is a thread's, or nobody's, but a group still has it. */
static int open_member(int scope, int id, int pid)
{
    int pidfd = sidh_open_pidfd(pid);

    if (pidfd == -EINVAL || pidfd == -ENOENT)
        return -ESRCH;
    if (pidfd < 0 || sidh_is_member(scope, id, pid))
        return pidfd;
    close(pidfd);
    return -ESRCH;
}

int sid_watch_member(int scope, int id, int pid, int *pidfd)
{
    int result = open_member(scope, id, pid);

    *pidfd = result < 0 ? -1 : result;
    return result < 0 ? result : 0;
}

int sid_close_all(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        int fd = __atomic_exchange_n(&fds[i], -1, __ATOMIC_ACQ_REL); /* a copy in a forked child closes no stranger's */
        if (fd >= 0)
            close(fd);
    }
    return 0;
}

int sid_close_counted(int *fds)
{
    return sid_close_all(fds + 1, fds[0]);
}

/* Not in this kernel, not through this system call filter (which may refuse by any errno), or no file left. */
static int has_no_pidfd(int result)
{
    return result < 0 && result != -ESRCH;
}

/* Without a pidfd the number may become another's between the look and the signal. */
static int signal_by_number(int scope, int id, int pid, int signal)
{
    if (!sidh_is_member(scope, id, pid))
        return -ESRCH;
    return kill(pid, signal) < 0 ? -errno : 0;
}

int sid_signal_member(int scope, int id, int pid, int signal, int goes_on)
{
    int pidfd = open_member(scope, id, pid), result;

    if (has_no_pidfd(pidfd)) {
        result = signal_by_number(scope, id, pid, signal);
        if (goes_on)
            signal_by_number(scope, id, pid, SIGCONT);
        return result;
    }
    if (pidfd < 0)
        return pidfd;
    result = sidos_signal_pidfd(pidfd, pid, signal);
    if (goes_on)
        sidos_signal_pidfd(pidfd, pid, SIGCONT);
    close(pidfd);
    return result;
}

static int has_ended(int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};

    return poll(&end, 1, 0) > 0;
}

/* A fork can't outrun a signal to its whole group. But a group that holds the caller is not to be signalled so. */
static void kill_led_group(int pidfd, int pid)
{
    if (getpgid(pid) == pid && getpgrp() != pid)
        sidos_signal_led_group(pidfd, pid, SIGKILL);
}

static int kill_by_number(int scope, int id, int pid, int *result)
{
    struct sid_process process;
    int is_known = sid_process(pid, &process, NULL); /* -EMFILE tells nothing */

    if (is_known == 0 || (is_known > 0 && !process.lives))
        return 0;
    *result = signal_by_number(scope, id, pid, SIGKILL);
    return *result != -ESRCH;
}

/* 1 if it was a living member; then `result` tells what came of the signal. */
static int kill_member(int scope, int id, int pid, int *result)
{
    int pidfd = open_member(scope, id, pid), lived;

    if (has_no_pidfd(pidfd))
        return kill_by_number(scope, id, pid, result);
    if (pidfd < 0)
        return 0;
    lived = !has_ended(pidfd);
    if (lived) {
        kill_led_group(pidfd, pid);
        *result = sidos_signal_pidfd(pidfd, pid, SIGKILL);
    }
    close(pidfd);
    return lived;
}

/* A pass that kills. */
struct killing {
    int scope;
    int id;
    int spared;
    struct sid_process *members;
    int room;
    int found;
};

/* Whether `pid` was a living member. */
static int visit(struct killing *killing, int pid)
{
    int result = 0;

    if (pid == killing->spared || !kill_member(killing->scope, killing->id, pid, &result))
        return 0;
    if (killing->found < killing->room)
        killing->members[killing->found] = (struct sid_process){.pid = pid, .result = result};
    killing->found++;
    return 1;
}

/* Who forks and ends faster than all are listed is on no list that is not out of date. But its child has the next
   number, or one soon after, and asking for a number is faster than making a process. */
static void chase(struct killing *killing, int last)
{
    const int ahead = 256;

    for (int pid = last + 1; pid <= last + ahead; pid++)
        if (sidh_is_member(killing->scope, killing->id, pid) && visit(killing, pid))
            last = pid;
}

static int kill_in_one_pass(struct killing *killing, struct sidh_dead *dead)
{
    int *pids, count = sidos_list_pids(&pids, 0);

    killing->found = 0;
    for (int i = 0; i < count; i++)
        if (sidh_may_be_member(killing->scope, killing->id, pids[i]) && !visit(killing, pids[i]))
            sidh_add_dead(dead, pids[i]);
    if (count > 0)
        chase(killing, pids[count - 1]);
    if (count >= 0)
        free(pids);
    return count < 0 ? count : killing->found;
}

int sid_kill_members(int scope, int id, int spared, struct sid_process *members, int room)
{
    struct killing killing = {.scope = scope, .id = id, .spared = spared, .members = members, .room = room};
    struct sidh_dead dead = {0}, before = {0};
    int found;

    do
        found = kill_in_one_pass(&killing, &dead);
    while (found == 0 && !sidh_nobody_lives(&dead, &before));
    for (int i = 0; i < found && i < room; i++) { /* now that no signal waits for it */
        int result = members[i].result;
        sid_process(members[i].pid, &members[i], NULL);
        members[i].result = result;
    }
    return found;
}

int sid_group_lives(int pidfd)
{
    int result = pidfd < 0 ? -EINVAL : sidos_signal_led_group(pidfd, 0, 0);

    return result == 0 || result == -EPERM;
}
