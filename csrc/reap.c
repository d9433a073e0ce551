/* What is known of a child's end, and reaping it once. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handle.h"

int sidh_look(const struct sid_child *child, int options, struct sidos_ended *ended)
{
    return sidos_wait(child->pid, child->pidfd, options | WNOWAIT, ended);
}

void sidh_record(struct sid_child *child, int code, int status)
{
    child->returncode = code == CLD_EXITED ? status : -status;
    child->dumped = code == CLD_DUMPED;
    __atomic_store_n(&child->ended, 1, __ATOMIC_RELEASE);
}

void sidh_record_status(struct sid_child *child, int status)
{
    if (WIFEXITED(status))
        sidh_record(child, CLD_EXITED, WEXITSTATUS(status));
    else
        sidh_record(child, WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED, WTERMSIG(status));
}

static void mark_reaped(struct sid_child *child)
{
    __atomic_store_n(&child->reaped, 1, __ATOMIC_RELEASE);
    if (!child->shared)
        sidh_drop(child);
}

/* Somebody else has reaped the child: a wait for any child, or the kernel because SIGCHLD is ignored. */
static int reaped_elsewhere(struct sid_child *child)
{
    int status;

    if (!sidh_is_set(&child->ended)) {
        if (child->owner != getpid() || sidos_status_of_reaped(child->pidfd, &status) < 0)
            return -ECHILD;
        sidh_record_status(child, status);
    }
    mark_reaped(child);
    return 1;
}

int sid_reaped_elsewhere(struct sid_child *child, int status)
{
    sidh_lock(child);
    if (!sidh_is_set(&child->ended))
        sidh_record_status(child, status);
    if (!sidh_is_set(&child->reaped))
        mark_reaped(child);
    sidh_unlock(child);
    return 0;
}

int sidh_reap_locked(struct sid_child *child)
{
    int stays = sidh_is_set(&child->stays) > 0 ? WNOWAIT : 0;
    struct sidos_ended ended;
    int result;

    if (sidh_is_set(&child->reaped))
        return 1;
    result = sidos_wait(child->pid, child->pidfd, WEXITED | WNOHANG | stays, &ended);
    if (result == -ECHILD)
        return reaped_elsewhere(child);
    if (result < 0 || !ended.code)
        return result;
    if (ended.has_usage) {
        memcpy(child->usage, ended.usage, sizeof child->usage);
        __atomic_store_n(&child->has_usage, 1, __ATOMIC_RELEASE);
    }
    sidh_record(child, ended.code, ended.status);
    if (!stays)
        mark_reaped(child);
    return 1;
}

int sid_stay(struct sid_child *child, int more)
{
    return __atomic_add_fetch(&child->stays, more, __ATOMIC_ACQ_REL);
}

int sid_stay_for(struct sid_child *child, int *holder)
{
    if (!*holder)
        sid_stay(child, 1);
    *holder = 1;
    return 0;
}

int sid_stay_no_longer(struct sid_child *child, int *holder)
{
    if (*holder)
        sid_stay(child, -1);
    *holder = 0;
    return 0;
}

int sid_ended(struct sid_child *child)
{
    return sidh_is_set(&child->ended) | sidh_is_set(&child->has_usage) << 1;
}

/* Closed ones too: what nobody holds any more is reaped at last. */
int sid_reap(struct sid_child *child)
{
    int result;

    if (sidh_is_set(&child->reaped))
        return 1;
    if (sidh_hold(child) < 0)
        return sidh_is_set(&child->reaped) ? 1 : -EBADF;
    sidh_lock(child);
    result = sidh_reap_locked(child);
    sidh_unlock(child);
    sidh_release(child);
    return result;
}

int sidh_is_ours_locked(const struct sid_child *child)
{
    struct sidos_ended ended;

    return !sidh_is_set(&child->reaped) && sidh_look(child, WEXITED | WNOHANG, &ended) == 0;
}

int sid_is_ours(struct sid_child *child)
{
    int result = sidh_enter(child);

    if (result <= 0)
        return 0;
    sidh_lock(child);
    result = sidh_is_ours_locked(child);
    sidh_unlock(child);
    sidh_release(child);
    return result;
}
