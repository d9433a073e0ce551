/* The floor: what the work itself costs, with no package around it. Loaded into the benchmark's own process. */
#define _GNU_SOURCE /* vfork */
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* vfork + setsid + execve + waitpid of `path` with no arguments but its name; its wait status, -1 on failure. */
int floor_run(const char *path)
{
    char *argv[] = {(char *)path, NULL};
    int status;
    pid_t pid = vfork();

    if (pid == 0) {
        setsid();
        execve(path, argv, environ);
        _exit(127);
    }
    return pid < 0 || waitpid(pid, &status, 0) < 0 ? -1 : status;
}
