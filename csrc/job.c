/* What a plan needs that only the parent can open: its cgroup by name, and a pidfd of the parent. */
#include <fcntl.h>
#include <unistd.h>

#include "making.h"

int sidh_failed(struct sid_report *report, enum sid_stage stage, enum sid_call call, int error)
{
    *report = (struct sid_report){.stage = (int)stage, .call = (int)call, .error = -error};
    return error;
}

int sidh_out_of_the_way(const struct sid_plan *plan, int *fd)
{
    while (*fd < 3 || sidch_is_target(plan, *fd)) {
        int copy = fcntl(*fd, F_DUPFD_CLOEXEC, *fd < 3 ? 3 : *fd + 1);
        if (copy < 0)
            return errno == EINVAL ? -EMFILE : -errno; /* EINVAL: asked for one from the limit up */
        close(*fd);
        *fd = copy;
    }
    return 0;
}

/* Anywhere else "cgroup.procs" could be any file. */
static int check_cgroup(const struct sidch_job *job, struct sid_report *report)
{
    int fd = sidch_cgroup_fd(job);
    int result = fd < 0 ? 0 : sidos_check_cgroup(fd);

    return result < 0 ? sidh_failed(report, SID_STAGE_CGROUP, SID_CALL_FSTATFS, result) : 0;
}

int sidh_open_cgroup(struct sidch_job *job, struct sid_report *report)
{
    int result = 0;

    job->cgroup_fd = -1;
    if (job->plan->cgroup)
        result = job->cgroup_fd = sidos_open_directory(job->plan->cgroup);
    if (job->cgroup_fd >= 0)
        result = sidh_out_of_the_way(job->plan, &job->cgroup_fd);
    if (result < 0)
        sidh_failed(report, SID_STAGE_CGROUP, SID_CALL_OPEN, result);
    else
        result = check_cgroup(job, report);
    if (result < 0)
        sidh_close_job(job);
    return result;
}

/* Without pidfds (ENOSYS; EPERM by a system call filter) there is still getppid, which is enough but for a child in a
   new pid namespace. A kqueue would not come through the fork. */
static int open_parent(struct sidch_job *job)
{
    if (!job->plan->parent_death_signal)
        return 0;
    job->parent_pid = getpid();
    if (!sidos_has_pidfds)
        return 0;
    job->parent_pidfd = sidos_open_pidfd(job->parent_pid);
    if (job->parent_pidfd < 0)
        return job->parent_pidfd == -ENOSYS || job->parent_pidfd == -EPERM ? 0 : job->parent_pidfd;
    return sidh_out_of_the_way(job->plan, &job->parent_pidfd);
}

int sidh_open_job(struct sidch_job *job, struct sid_report *report)
{
    int result;

    job->parent_pidfd = -1;
    if ((result = sidh_open_cgroup(job, report)) < 0 || (result = open_parent(job)) == 0)
        return result;
    sidh_close_job(job);
    return sidh_failed(report, SID_STAGE_PARENT_DEATH_SIGNAL, SID_CALL_PIDFD_OPEN, result);
}

void sidh_close_job(const struct sidch_job *job)
{
    if (job->cgroup_fd >= 0)
        close(job->cgroup_fd);
    if (job->parent_pidfd >= 0)
        close(job->parent_pidfd);
}
