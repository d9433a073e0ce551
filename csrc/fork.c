/*
 * fork: a plan carried out in a child that goes on in Python.
 *
 * Python makes the child, so that its own state is put in order as by os.fork, between sid_fork_prepare and the two
 * functions for the two processes. All signals are blocked meanwhile: no handler runs in a child that is half set up.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "making.h"

enum { GIVE_UP_AFTER = 5000 /* milliseconds */ };

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_files(struct sid_fork *fork)
{
    close_one(&fork->ends[0]);
    close_one(&fork->ends[1]);
    close_one(&fork->leave[0]);
    close_one(&fork->leave[1]);
    close_one(&fork->cgroup_fd);
    close_one(&fork->parent_pidfd);
}

static void unblock(const struct sid_fork *fork, uint64_t mask, uint64_t more)
{
    sidos_unblock(&(struct sidos_blocked){.mask = mask, .more = more, .cancellation = fork->cancellation});
}

static int open_pipes(const struct sid_plan *plan, struct sid_fork *fork)
{
    int result = sidh_open_pipe(plan, fork->ends);

    if (result < 0)
        fork->ends[0] = fork->ends[1] = -1;
    else
        result = sidos_pipe(fork->leave);
    return result;
}

int sid_fork_prepare(const struct sid_plan *plan, struct sid_fork *fork, struct sid_child *child)
{
    struct sidch_job job = {.plan = plan};
    struct sidos_blocked was;
    int result = sidh_open_job(&job, &child->report);

    if (result < 0)
        return result;
    *fork = (struct sid_fork){.owner = getpid(),
                              .ends = {-1, -1},
                              .leave = {-1, -1},
                              .cgroup_fd = job.cgroup_fd,
                              .parent_pidfd = job.parent_pidfd,
                              .foreground = plan->foreground_tty < 0 ? -1 : sid_tcgetpgrp(plan->foreground_tty)};
    if ((result = open_pipes(plan, fork)) < 0) {
        close_files(fork);
        return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_PIPE, result);
    }
    sidos_block_all_but_libcs(&was);
    fork->mask = was.mask;
    fork->more = was.more;
    fork->cancellation = was.cancellation;
    return 0;
}

int sid_fork_child(const struct sid_plan *plan, int *scratch, struct sid_fork *fork)
{
    const struct sidch_job job = {.plan = plan,
                                  .goes_on = 1,
                                  .scratch = scratch,
                                  .parent_mask = fork->mask,
                                  .parent_more = fork->more,
                                  .cgroup_fd = fork->cgroup_fd,
                                  .ids = &sidch_os_ids,
                                  .parent_pid = fork->owner,
                                  .parent_pidfd = fork->parent_pidfd,
                                  .report_fd = fork->ends[1]};

    close_one(&fork->ends[0]);
    close_one(&fork->leave[1]);
    sidch_await_leave(fork->leave[0], fork->ends[1], fork->owner);
    close_one(&fork->leave[0]);
    sidch_go_on(&job);
    fork->cgroup_fd = fork->parent_pidfd = -1; /* closed by then */
    close_files(fork);
    unblock(fork, plan->inherit_mask ? fork->mask : plan->signal_mask, plan->inherit_mask ? fork->more : 0);
    return 0;
}

/* 1: all steps are done; 0: the child has reported a failure, or ended. Not by end of file: strangers may hold copies
   of the pipe's write end. */
static int is_done(int fd, struct sid_child *child)
{
    int over = 0;

    for (;;) {
        struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = child->pidfd, .events = POLLIN}};
        poll(wait, child->pidfd < 0 ? 1 : 2, over ? 0 : SIDH_LOOK_EVERY);
        if (wait[0].revents) {
            if (sidh_read_record(fd, &child->report) <= 0 || child->report.error)
                return 0;
            if (child->report.stops & SID_STOPS_DONE)
                return 1;
        } else if (over) {
            return 0;
        } else if (!(over = sidh_has_ended(child))) {
            sidh_put_off_stop(child);
        }
    }
}

/* The child that has ended can't give the terminal back. */
static void return_foreground(const struct sid_plan *plan, const struct sid_fork *fork, int pid)
{
    int group = plan->process_group > 0 ? plan->process_group : pid;

    if (plan->process_group == SID_GROUP_INHERIT)
        group = getpgrp();
    if (fork->foreground > 0 && sid_tcgetpgrp(plan->foreground_tty) == group)
        sid_tcsetpgrp(plan->foreground_tty, fork->foreground);
}

/* A child that has reported nothing has been ended by a signal, or by a hook of its own: at the latest now. */
static int ended_early(struct sid_child *child)
{
    struct sidos_ended ended = {0};
    int status;

    if (child->pidfd >= 0)
        sidos_signal_pidfd(child->pidfd, child->pid, SIGKILL);
    else if (!sidh_has_ended(child)) /* else the number may be another's: the kernel may have reaped it */
        kill(child->pid, SIGKILL);
    while (sidos_wait(child->pid, child->pidfd, WEXITED, &ended) == -EINTR)
        ;
    if (ended.code)
        sidh_record(child, ended.code, ended.status);
    else if (sidos_status_of_reaped(child->pidfd, &status) == 0)
        sidh_record_status(child, status);
    if (child->pidfd >= 0)
        close(child->pidfd);
    child->pidfd = SID_PIDFD_CLOSED;
    return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_FORK, -ECHILD);
}

/* Into an empty pipe of which we have both ends: it is neither full nor broken. */
static void say(const struct sid_fork *fork, char word)
{
    while (write(fork->leave[1], &word, 1) < 0 && errno == EINTR)
        ;
}

int sid_fork_parent(const struct sid_plan *plan, struct sid_fork *fork, int pid, struct sid_child *child)
{
    int result = 0;

    say(fork, SIDCH_GO_ON);
    close_one(&fork->ends[1]);
    sidh_adopt(child, pid, -1);
    /* A hook of the child's may hang: what ends a process must still end this one. Cancellation waits. */
    sidos_unblock(
        &(struct sidos_blocked){.mask = fork->mask, .more = fork->more, .cancellation = PTHREAD_CANCEL_DISABLE});
    if (!is_done(fork->ends[0], child) && !child->report.error) {
        result = ended_early(child);
        return_foreground(plan, fork, pid);
    }
    close_files(fork);
    unblock(fork, fork->mask, fork->more);
    if (result < 0)
        return result;
    child->report.stops &= ~SID_STOPS_DONE;
    return sidh_settle(plan, child);
}

int sid_fork_abandon(struct sid_fork *fork, int pid)
{
    struct pollfd wait = {.fd = fork->ends[0], .events = POLLIN};
    struct sid_report report = {0};
    struct sidos_ended ended;

    say(fork, SIDCH_END);
    close_one(&fork->ends[1]);
    if (pid == 0 && poll(&wait, 1, GIVE_UP_AFTER) > 0 && sidh_read_record(fork->ends[0], &report) > 0)
        pid = report.pid; /* as it numbers itself, which in a pid namespace of its own is not as we do */
    while (pid > 0 && sidos_wait(pid, -1, WEXITED, &ended) == -EINTR)
        ;
    close_files(fork);
    unblock(fork, fork->mask, fork->more);
    return 0;
}
