/* Dispositions and the mask. */
#include <signal.h>

#include "child.h"

int sidch_signal_dispositions(struct sidch_state *state)
{
    return sidch_os_dispositions(state);
}

static void on_stop(int signal)
{
    sidch_note_stop(*sidch_os_anchor(), signal);
}

/* From here to exec a stop signal is noted and stops nobody. libc's sigaction here: a handler that returns needs its
   restorer. */
static int catch_stops(struct sidch_state *state)
{
    static const int caught[] = {SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT};
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};

    *sidch_os_anchor() = state;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
        struct sigaction old;
        if (sigaction(caught[i], NULL, &old) < 0)
            return -errno;
        if (old.sa_handler == SIG_DFL && sigaction(caught[i], &action, NULL) < 0)
            return -errno;
    }
    return 0;
}

/*
 * A stop signal (Ctrl-Z in the child's terminal) between the unmask and exec would stop the child, with a vfork parent
 * asleep in the kernel until somebody continues it. So the three are caught until exec, which makes them default again,
 * and the parent sends them anew. A new session's leader needs none of that: its group is orphaned (its parent is in
 * another session), and the kernel discards these signals there; nor does a detached process, whose parent is in its
 * own group or, later, in init's session. SIGSTOP nobody can catch.
 */
int sidch_signal_mask(struct sidch_state *state)
{
    const struct sid_plan *plan = state->plan;
    uint64_t mask = plan->inherit_mask ? state->job->parent_mask : plan->signal_mask;
    uint64_t more = plan->inherit_mask ? state->job->parent_more : 0;
    int is_in_orphaned_group = plan->process_group == SID_GROUP_NEW_SESSION || state->job->is_detached;

    if (!state->job->goes_on && !is_in_orphaned_group && catch_stops(state) < 0)
        return sidch_fail(state, SID_CALL_SIGACTION, 0);
    return sidch_os_set_mask(mask, more) < 0 ? sidch_fail(state, SID_CALL_SIGPROCMASK, 0) : 0;
}
