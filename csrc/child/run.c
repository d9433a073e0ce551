/*
 * The child, from clone to exec, top to bottom.
 *
 * Rules of this folder. The child may share its memory with a parent whose other threads go on running, and in a
 * forked copy any lock may be held for ever. So only async-signal-safe calls (signal-safety(7); allowed.txt lists
 * every symbol): no malloc, no stdio, no locks, no lazy binding. It runs on 16 KiB of stack (os/linux_clone.c), writes
 * only its own frames, the report and `scratch`, and blocks every signal until no handler of the parent's is left.
 */
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
    {SID_STAGE_FDS, sidch_fds},
    {SID_STAGE_CLOSE_FDS, sidch_close_fds},
    {SID_STAGE_UMASK, sidch_umask},
    {SID_STAGE_CWD, sidch_cwd},
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

/* A write of up to PIPE_BUF bytes to a pipe is whole or fails. */
static void send(int fd, const struct sid_report *report)
{
    while (write(fd, report, sizeof *report) < 0 && errno == EINTR)
        ;
}

static void deliver(const struct sidch_state *state)
{
    struct sid_report *shared = state->job->report;

    if (state->job->report_fd >= 0) {
        send(state->job->report_fd, &state->report);
        return;
    }
    shared->stage = state->report.stage; /* `stops` is sidch_note_stop's */
    shared->call = state->report.call;
    shared->error = state->report.error;
    shared->detail = state->report.detail;
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

int sidch_main(void *arg)
{
    const struct sidch_job *job = arg;
    struct sidch_state state = {.job = job, .plan = job->plan, .cwd_fd = job->plan->cwd_fd};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        state.report.stage = (int)steps[i].stage;
        if (steps[i].run(&state) < 0)
            break;
    }
    sidch_os_set_mask(~(uint64_t)0); /* SIGTTOU again, and nothing may end the child before it has reported */
    sidch_return_foreground(&state);
    deliver(&state);
    _exit(127);
}
