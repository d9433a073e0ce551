/*
 * fork: a plan carried out in a child that goes on in Python.
 *
 * Python makes the child, so that its own state is put in order as by os.fork, between sid_fork_prepare and the two
 * functions for the two processes. All signals are blocked meanwhile: no handler runs in a child that is half set up.
 */
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "making.h"

enum { LOOK_EVERY = 10 /* milliseconds */ };

static struct sidch_job job_of(const struct sid_plan *plan, const struct sid_fork *fork)
{
    return (struct sidch_job){.plan = plan,
                              .goes_on = 1,
                              .parent_mask = fork->mask,
                              .cgroup_fd = fork->cgroup_fd,
                              .ids = &sidch_os_ids,
                              .parent_pid = fork->owner,
                              .parent_pidfd = fork->parent_pidfd,
                              .report_fd = fork->ends[1]};
}

static void close_files(struct sid_fork *fork, const struct sidch_job *job)
{
    if (fork->ends[0] >= 0)
        close(fork->ends[0]);
    if (fork->ends[1] >= 0)
        close(fork->ends[1]);
    fork->ends[0] = fork->ends[1] = -1;
    sidh_close_job(job);
}

static void unblock(const struct sid_fork *fork, uint64_t mask)
{
    sidos_unblock(&(struct sidos_blocked){.mask = mask, .cancellation = fork->cancellation});
}

int sid_fork_prepare(const struct sid_plan *plan, struct sid_fork *fork, struct sid_child *child)
{
    struct sidch_job job = {.plan = plan};
    struct sidos_blocked was;
    int result = sidh_open_job(&job, &child->report);

    if (result < 0)
        return result;
    if ((result = sidh_open_pipe(plan, fork->ends)) < 0) {
        fork->ends[0] = fork->ends[1] = -1;
        sidh_close_job(&job);
        return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_PIPE, result);
    }
    fork->owner = getpid();
    fork->cgroup_fd = job.cgroup_fd;
    fork->parent_pidfd = job.parent_pidfd;
    sidos_block(&was);
    fork->mask = was.mask;
    fork->cancellation = was.cancellation;
    return 0;
}

int sid_fork_child(const struct sid_plan *plan, int *scratch, struct sid_fork *fork)
{
    struct sidch_job job = job_of(plan, fork);

    close(fork->ends[0]);
    fork->ends[0] = -1;
    job.scratch = scratch;
    sidch_go_on(&job);
    close_files(fork, &job);
    unblock(fork, plan->inherit_mask ? fork->mask : plan->signal_mask);
    return 0;
}

/* 1: all steps are done; 0: the child has reported a failure, or ended. Not by end of file: strangers may hold copies
   of the pipe's write end. */
static int is_done(int fd, struct sid_child *child)
{
    int over = 0;

    for (;;) {
        struct pollfd wait[] = {{.fd = fd, .events = POLLIN}, {.fd = child->pidfd, .events = POLLIN}};
        poll(wait, child->pidfd < 0 ? 1 : 2, over ? 0 : LOOK_EVERY); /* no signal comes: all are blocked */
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

/* What ended a child that has reported nothing: its status, taken. */
static int ended_early(struct sid_child *child)
{
    struct sidos_ended ended = {0};

    while (sidos_wait(child->pid, child->pidfd, WEXITED, &ended) == -EINTR)
        ;
    if (child->pidfd >= 0)
        close(child->pidfd);
    child->pidfd = SID_PIDFD_CLOSED;
    child->returncode = ended.code == CLD_EXITED ? ended.status : -ended.status;
    return sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_FORK, -ECHILD);
}

int sid_fork_parent(const struct sid_plan *plan, struct sid_fork *fork, int pid, struct sid_child *child)
{
    struct sidch_job job = job_of(plan, fork);
    int done;

    sidh_adopt(child, pid, -1);
    close(fork->ends[1]);
    fork->ends[1] = -1;
    done = is_done(fork->ends[0], child);
    close_files(fork, &job);
    unblock(fork, fork->mask);
    if (!done && !child->report.error)
        return ended_early(child);
    child->report.stops &= ~SID_STOPS_DONE;
    return sidh_settle(plan, child);
}

/* One that is not our child is not touched. */
static void end_child(int pid)
{
    struct sidos_ended ended;

    if (pid <= 0 || sidos_wait(pid, -1, WEXITED | WNOHANG | WNOWAIT, &ended) < 0)
        return;
    kill(pid, SIGKILL);
    while (sidos_wait(pid, -1, WEXITED, &ended) == -EINTR)
        ;
}

int sid_fork_abandon(struct sid_fork *fork, int pid)
{
    struct sidch_job job = {.cgroup_fd = fork->cgroup_fd, .parent_pidfd = fork->parent_pidfd};
    struct sid_report report = {0};
    struct pollfd wait = {.fd = fork->ends[0], .events = POLLIN};

    close(fork->ends[1]);
    fork->ends[1] = -1;
    if (pid == 0 && poll(&wait, 1, 5000) > 0 && sidh_read_record(fork->ends[0], &report) > 0)
        pid = report.pid; /* as it numbers itself, which in a pid namespace of its own is not as we do */
    end_child(pid);
    close_files(fork, &job);
    unblock(fork, fork->mask);
    return 0;
}
