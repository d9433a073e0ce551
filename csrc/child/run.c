/*
 * The child, from clone to exec, top to bottom.
 *
 * Rules of this folder. The child may share its memory with a parent whose other threads go on running, and in a
 * forked copy any lock may be held for ever. So only async-signal-safe calls (signal-safety(7); allowed.txt lists
 * every symbol): no malloc, no stdio, no locks, no lazy binding. It runs on 16 KiB of stack (os/linux_clone.c), writes
 * only its own frames, the report and `scratch`, and blocks every signal until no handler of the parent's is left.
 */
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "child.h"

/* The documented order. A step is one row here and one function. */
static const struct step {
    enum sid_stage stage;
    int (*run)(struct sidch_state *);
} steps[] = {
    {SID_STAGE_PROCESS_GROUP, sidch_process_group},
    {SID_STAGE_CTTY, sidch_ctty},
    {SID_STAGE_FOREGROUND, sidch_foreground},
    {SID_STAGE_CGROUP, sidch_cgroup},
    {SID_STAGE_FDS, sidch_fds},
    {SID_STAGE_CLOSE_FDS, sidch_close_fds},
    {SID_STAGE_RLIMITS, sidch_rlimits},
    {SID_STAGE_NICE, sidch_nice},
    {SID_STAGE_CPU_AFFINITY, sidch_cpu_affinity},
    {SID_STAGE_OOM_SCORE_ADJ, sidch_oom_score_adj},
    {SID_STAGE_UMASK, sidch_umask},
    {SID_STAGE_CHROOT, sidch_chroot},
    {SID_STAGE_CWD, sidch_cwd},
    {SID_STAGE_EXTRA_GROUPS, sidch_extra_groups},
    {SID_STAGE_GROUP, sidch_group},
    {SID_STAGE_USER, sidch_user},
    {SID_STAGE_NO_NEW_PRIVILEGES, sidch_no_new_privileges},
    {SID_STAGE_PARENT_DEATH_SIGNAL, sidch_parent_death_signal},
    {SID_STAGE_SIGNAL_DISPOSITIONS, sidch_signal_dispositions},
    {SID_STAGE_SIGNAL_MASK, sidch_signal_mask},
    {SID_STAGE_EXEC, sidch_exec},
};

int sidch_fail(struct sidch_state *state, enum sid_call call, int detail)
{
    state->report.error = errno;
    state->report.call = (int)call;
    state->report.detail = detail;
    return -state->report.error;
}

/* A write of up to PIPE_BUF bytes to a pipe is whole or fails; 0 or -1. */
static int send(int fd, const struct sid_report *report)
{
    ssize_t result;

    do
        result = write(fd, report, sizeof *report);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -1 : 0;
}

void sidch_deliver(const struct sidch_job *job, const struct sid_report *report)
{
    struct sid_report *shared = job->report;

    if (job->report_fd >= 0) {
        send(job->report_fd, report);
        return;
    }
    shared->stage = report->stage; /* `stops` is sidch_note_stop's */
    shared->call = report->call;
    shared->error = report->error;
    shared->detail = report->detail;
}

void sidch_note_stop(struct sidch_state *state, int signal)
{
    struct sid_report note = {.stops = signal == SIGCONT ? SID_STOPS_UNDONE : 1 << signal};
    int saved = errno;

    if (state->job->report_fd >= 0)
        send(state->job->report_fd, &note);
    else
        state->job->report->stops = signal == SIGCONT ? 0 : state->job->report->stops | note.stops;
    errno = saved;
}

/* 0 once all steps are done; < 0: `state->report` says which one failed. */
static int run_steps(struct sidch_state *state)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (steps[i].stage == SID_STAGE_EXEC && state->job->goes_on)
            break;
        state->report.stage = (int)steps[i].stage;
        if (steps[i].run(state) < 0)
            return -1;
    }
    return 0;
}

/* Blocks all signals again: tcsetpgrp's SIGTTOU, and nothing may end the process before it has reported. */
static void give_up(struct sidch_state *state)
{
    sidch_os_set_mask(~(uint64_t)0, ~(uint64_t)0);
    sidch_return_foreground(state);
    sidch_deliver(state->job, &state->report);
}

static struct sidch_state beginning(const struct sidch_job *job)
{
    return (struct sidch_state){.job = job, .plan = job->plan, .cwd_fd = job->plan->cwd_fd, .oom_score_fd = -1};
}

int sidch_main(void *arg)
{
    const struct sidch_job *job = arg;
    struct sidch_state state = beginning(job);
    struct sidch_robust_head robust;

    if (job->page && sidch_os_tell_of_exec(job->page, &robust) < 0)
        sidch_fail(&state, SID_CALL_SET_ROBUST_LIST, 0);
    else
        run_steps(&state);
    give_up(&state);
    _exit(127);
}

int sidch_go_on(const struct sidch_job *job)
{
    struct sidch_state state = beginning(job);
    int result = run_steps(&state);

    sidch_close_own(&state, result == 0);
    if (result == 0 && job->is_own_process)
        return 0;
    /* A child whose parent can't be told is one that its parent does not know of. */
    if (result == 0 && send(job->report_fd, &(struct sid_report){.stops = SID_STOPS_DONE}) == 0)
        return 0;
    give_up(&state);
    if (!job->is_own_process)
        _exit(127);
    return -state.report.error;
}

/* The parent may have been interrupted before it knew of the child. It says so; its death says the same. */
void sidch_await_leave(int leave_fd, int report_fd, int parent_pid)
{
    struct pollfd wait = {.fd = leave_fd, .events = POLLIN};
    char word = 0;

    while (poll(&wait, 1, 10) <= 0 && (getppid() == parent_pid || getppid() == 0))
        ;
    if (wait.revents && read(leave_fd, &word, 1) == 1 && word == SIDCH_GO_ON)
        return;
    send(report_fd, &(struct sid_report){.call = SID_CALL_FORK, .error = ECANCELED, .pid = getpid()});
    _exit(127);
}
