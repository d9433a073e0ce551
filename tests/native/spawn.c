/*
 * The parent half, without Python: starts programs that run and programs that can't, in the way that the first argument
 * forces (a number of enum sid_way; 0: as the probe finds), and prints the way it was.
 */
#include <dirent.h>
#include <string.h>
#include <sys/wait.h>

#include "native.h"
#include "sid.h"

static struct sid_plan plan_of(const char *cwd)
{
    return (struct sid_plan){.process_group = SID_GROUP_NEW_SESSION,
                             .ctty = -1,
                             .foreground_tty = -1,
                             .cgroup_fd = -1,
                             .close_fds = 1,
                             .umask = -1,
                             .cwd_fd = -1,
                             .cwd = cwd};
}

/* `argv`: strings with a NUL between them. */
static int spawn(const struct sid_plan *plan, const char *argv, size_t size, int argc, struct sid_child *child)
{
    static const char *const env[] = {"A=1", "PATH=/nonexistent:/bin:/usr/bin", NULL};

    memset(child, 0, sizeof *child);
    return sid_spawn(plan, NULL, argv, size, argc, env, child);
}

static int open_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    CHECK(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void starts(const struct sid_plan *plan)
{
    static const char argv[] = "sh\0-c\0exit 7";
    struct sid_child child;

    CHECK(spawn(plan, argv, sizeof argv - 1, 3, &child) == 0);
    CHECK(child.leads_session && child.report.error == 0);
    CHECK(sid_wait(&child, -1, 1) == 0);
    CHECK(child.reaped && child.returncode == 7);
    CHECK(sid_close(&child) == 0);
}

static void fails(const struct sid_plan *plan, const char *program, int stage, int error)
{
    struct sid_child child;
    int result = spawn(plan, program, strlen(program), 1, &child);

    if (result != -error)
        fprintf(stderr, "%s: result %d, stage %d, errno %d\n", program, result, child.report.stage, child.report.error);
    CHECK(result == -error);
    CHECK(child.report.stage == stage && child.report.error == error);
    CHECK(child.users == 0 && child.pidfd < 0);
}

static void refuses_a_nul(const struct sid_plan *plan)
{
    static const char argv[] = "true\0x";
    struct sid_child child;

    CHECK(spawn(plan, argv, sizeof argv - 1, 1, &child) == -EINVAL);
    CHECK(child.report.error == 0 && child.pid == 0);
}

int main(int count, char **arguments)
{
    struct sid_plan plan = plan_of(NULL), nowhere = plan_of("/nonexistent");
    int before = open_fds();

    CHECK(count == 2 && sid_force(atoi(arguments[1]), 0) == 0);
    starts(&plan);
    fails(&plan, "no-such-program", SID_STAGE_EXEC, ENOENT);
    fails(&plan, "/nonexistent/program", SID_STAGE_EXEC, ENOENT);
    fails(&plan, "/", SID_STAGE_EXEC, EACCES);
    fails(&nowhere, "true", SID_STAGE_CWD, ENOENT);
    refuses_a_nul(&plan);
    CHECK(waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD);
    CHECK(open_fds() == before);
    printf("%d\n", sid_way());
    return 0;
}
