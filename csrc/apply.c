/* A plan carried out in the calling process. */
#include <fcntl.h>
#include <unistd.h>

#include "making.h"

static int check_file(int fd)
{
    return fd >= 0 && sid_fd_flags(fd) < 0 ? -EBADF : 0;
}

int sid_check_files(const struct sid_plan *plan)
{
    int result = check_file(plan->cwd_fd) | check_file(plan->cgroup_fd);

    for (int i = 0; i < plan->move_count; i++)
        result |= check_file(plan->moves[i].source);
    if (result)
        return -EBADF;
    if ((plan->ctty >= 0 && sid_is_terminal(plan->ctty) != 1) ||
        (plan->foreground_tty >= 0 && sid_is_terminal(plan->foreground_tty) != 1))
        return -ENOTTY;
    return plan->ctty >= 0 && (sid_fd_flags(plan->ctty) & O_ACCMODE) == O_WRONLY ? -EINVAL : 0;
}

static int is_of_a_thread(const struct sid_plan *plan)
{
    return plan->nice || plan->cpus_size || plan->no_new_privileges || plan->parent_death_signal;
}

int sid_apply(const struct sid_plan *plan, int *scratch, int parent_pid, struct sid_report *report)
{
    struct sidch_job job = {.plan = plan,
                            .goes_on = 1,
                            .is_own_process = 1,
                            .scratch = scratch,
                            .ids = sidos_process_ids(),
                            .parent_pid = parent_pid,
                            .parent_pidfd = -1,
                            .report = report,
                            .report_fd = -1};
    struct sidos_blocked was;
    int result;

    if (sid_check_files(plan) < 0)
        return SID_APPLY_BAD_FILE;
    if (is_of_a_thread(plan) && !sidos_is_main_thread())
        return SID_APPLY_OTHER_THREAD;
    if ((result = sidh_open_cgroup(&job, report)) < 0)
        return result;
    sidos_block_all_but_libcs(&was);
    job.parent_mask = was.mask;
    job.parent_more = was.more;
    result = sidch_go_on(&job);
    if (result == 0 && !plan->inherit_mask) {
        was.mask = plan->signal_mask;
        was.more = 0;
    }
    sidos_unblock(&was);
    return result;
}
