/* Who the child is, and what it may become. Groups first, the user last: each takes the right to change the next. */
#include <signal.h>
#include <unistd.h>

#include "child.h"

int sidch_extra_groups(struct sidch_state *state)
{
    const struct sid_plan *plan = state->plan;

    if (plan->sets_groups && state->job->ids->set_groups((size_t)plan->group_count, plan->groups) < 0)
        return sidch_fail(state, SID_CALL_SETGROUPS, plan->group_count);
    return 0;
}

int sidch_group(struct sidch_state *state)
{
    if (state->plan->sets_group && state->job->ids->set_group(state->plan->group) < 0)
        return sidch_fail(state, SID_CALL_SETRESGID, (int)state->plan->group);
    return 0;
}

int sidch_user(struct sidch_state *state)
{
    if (state->plan->sets_user && state->job->ids->set_user(state->plan->user) < 0)
        return sidch_fail(state, SID_CALL_SETRESUID, (int)state->plan->user);
    return 0;
}

int sidch_no_new_privileges(struct sidch_state *state)
{
    if (state->plan->no_new_privileges && sidch_os_no_new_privileges() < 0)
        return sidch_fail(state, SID_CALL_NO_NEW_PRIVS, 0);
    return 0;
}

/* getppid() is exact, but 0 for a parent outside the child's pid namespace; the pidfd tells there. */
static int parent_is_dead(const struct sidch_job *job)
{
    int ppid = getppid();

    return (ppid > 0 && job->parent_pid > 0 && ppid != job->parent_pid) ||
           (job->parent_pidfd >= 0 && sidch_os_is_readable(job->parent_pidfd));
}

/*
 * After the credentials, a change of which clears it. A parent that died before this step sends nothing: then a child
 * of spawn or fork ends here, and a process that applies a plan to itself gets the signal as if it had come later.
 */
int sidch_parent_death_signal(struct sidch_state *state)
{
    int number = state->plan->parent_death_signal;

    if (number == 0)
        return 0;
    if (sidch_os_set_parent_death_signal(number) < 0)
        return sidch_fail(state, SID_CALL_PDEATHSIG, number);
    if (!parent_is_dead(state->job))
        return 0;
    if (state->job->is_own_process)
        return kill(getpid(), number);
    errno = ESRCH;
    return sidch_fail(state, SID_CALL_GETPPID, 0);
}
