/* Signals to the members of a session or a process group: by a pidfd that was opened before the membership was seen, so
   that nobody is hit who got a member's number later. */
#include "members.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "making.h"

static int open_member(int scope, int id, int pid)
{
    int pidfd = sidh_open_pidfd(pid);

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
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
    return 0;
}

int sid_close_counted(int *fds)
{
    return sid_close_all(fds + 1, fds[0]);
}

static int has_no_pidfd(int result)
{
    return result == -ENOSYS || result == -EMFILE || result == -ENFILE;
}

/* Where there is no pidfd to be had: the number may become another's between the look and the signal. */
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
    result = sidos_signal_pidfd(pidfd, signal);
    if (goes_on)
        sidos_signal_pidfd(pidfd, SIGCONT);
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
        sidos_signal_led_group(pidfd, SIGKILL);
}

static int kill_by_number(int scope, int id, int pid, int *result)
{
    struct sid_process process;

    if (sid_process(pid, &process) == 0 || !process.lives)
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
        *result = sidos_signal_pidfd(pidfd, SIGKILL);
    }
    close(pidfd);
    return lived;
}

static int kill_in_one_pass(int scope, int id, int spared, struct sid_process *members, int room,
                            struct sidh_dead *dead)
{
    int *pids, count = sidos_list_pids(&pids), found = 0;

    for (int i = 0; i < count; i++) {
        int result = 0;
        if (pids[i] == spared || !sidh_may_be_member(scope, id, pids[i]))
            continue;
        if (!kill_member(scope, id, pids[i], &result)) {
            sidh_add_dead(dead, pids[i]);
            continue;
        }
        if (found < room)
            members[found] = (struct sid_process){.pid = pids[i], .result = result};
        found++;
    }
    if (count >= 0)
        free(pids);
    return count < 0 ? count : found;
}

int sid_kill_members(int scope, int id, int spared, struct sid_process *members, int room)
{
    struct sidh_dead dead = {0}, before = {0};
    int found;

    do
        found = kill_in_one_pass(scope, id, spared, members, room, &dead);
    while (found == 0 && !sidh_nobody_lives(&dead, &before));
    for (int i = 0; i < found && i < room; i++) { /* now that no signal waits for it */
        int result = members[i].result;
        sid_process(members[i].pid, &members[i]);
        members[i].result = result;
    }
    return found;
}

int sid_group_lives(int pidfd)
{
    int result = pidfd < 0 ? -EINVAL : sidos_signal_led_group(pidfd, 0);

    return result == 0 || result == -EPERM;
}
