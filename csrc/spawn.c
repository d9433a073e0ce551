/* spawn: a child that carries out a plan and then executes a program. */
#include <sys/resource.h>
#include <unistd.h>

#include "making.h"
#include "vectors.h"

static int make_child(int way, struct sidch_job *job, struct sid_child *child)
{
    int result = sidh_make_and_wait(way, job, child);

    return result < 0 ? result : sidh_settle(job->plan, child);
}

/* `make` makes the process: a child, or one that is nobody's. */
static int spawn(int (*make)(int way, struct sidch_job *job, struct sid_child *child), const struct sid_plan *plan,
                 const char *executable, const char *argv, size_t argv_size, int argc, const char *const *envp,
                 struct sid_child *child)
{
    struct sidch_job job = {.plan = plan, .envp = envp, .ids = &sidch_os_ids, .report_fd = -1};
    struct sid_vectors vectors;
    enum sid_call call;
    int way = sidh_way_for(plan, &call);
    int result;

    if (way < 0)
        return sidh_failed(&child->report, SID_STAGE_NONE, call, way);
    result = sidh_make_vectors(&vectors, executable, argv, argv_size, argc, envp, plan->move_count);
    if (result < 0)
        return result == -EINVAL ? result : sidh_failed(&child->report, SID_STAGE_NONE, SID_CALL_MALLOC, result);
    job.paths = vectors.paths;
    job.path_count = vectors.path_count;
    job.argv = vectors.argv;
    job.scratch = vectors.scratch;
    result = sidh_open_job(&job, &child->report);
    if (result == 0) {
        result = make(way, &job, child);
        sidh_close_job(&job);
    }
    sidh_free_vectors(&vectors);
    return result;
}

int sid_spawn(const struct sid_plan *plan, const char *executable, const char *argv, size_t argv_size, int argc,
              const char *const *envp, struct sid_child *child)
{
    return spawn(make_child, plan, executable, argv, argv_size, argc, envp, child);
}

int sid_spawn_detached(const struct sid_plan *plan, const char *executable, const char *argv, size_t argv_size,
                       int argc, const char *const *envp, struct sid_child *child)
{
    return spawn(sidh_detach, plan, executable, argv, argv_size, argc, envp, child);
}

/* Whoever has started the child needed no file for it: half of the files are left to the program. */
static void spare_files(struct sid_child *child)
{
    struct rlimit limit;

    if (child->pidfd < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0 || (rlim_t)child->pidfd < limit.rlim_cur / 2)
        return;
    close(child->pidfd);
    child->pidfd = SID_PIDFD_NONE;
}

int sid_adopt(struct sid_child *child, int pid)
{
    sidh_adopt(child, pid, -1);
    spare_files(child);
    sidh_hand_over(child, getsid(pid) == pid);
    return 0;
}
