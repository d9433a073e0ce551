/* The processes of a session or a process group. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"

static int is_member(int scope, int id, int pid)
{
    return (scope == SID_SCOPE_SESSION ? getsid(pid) : getpgid(pid)) == id;
}

/* The state and what follows stand behind the command's name, which is in parentheses and may hold anything. A process
   whose main thread alone has ended shows as a zombie too: with num_threads, 17 fields on, over 1. */
static int is_zombie(const char *stat)
{
    const char *field = strrchr(stat, ')');

    if (!field || !field[1] || !strchr("ZXx", field[2]))
        return 0;
    for (int i = 0; i < 18 && field; i++)
        field = strchr(field + 1, ' ');
    return !field || atol(field) <= 1;
}

/* 1, 0, or -errno when there is no file left to look with. */
static int is_living(int pid)
{
    char path[32], stat[512];
    ssize_t size;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? -errno : errno != ENOENT; /* hidden is not gone */
    size = read(fd, stat, sizeof stat - 1);
    close(fd);
    if (size <= 0)
        return 0;
    stat[size] = '\0';
    return !is_zombie(stat);
}

/* A process that starts or ends during the pass may be missed: repeat it where that matters. */
int sid_members(int scope, int id, int *pids, int room)
{
    DIR *proc = sidos_proc_is_ours() ? opendir("/proc") : (errno = ENOENT, NULL);
    struct dirent *entry;
    int count = 0, living = 0;

    if (!proc)
        return -errno;
    while (living >= 0 && (entry = readdir(proc))) {
        int pid = atoi(entry->d_name);
        if (pid <= 0 || !is_member(scope, id, pid) || (living = is_living(pid)) <= 0)
            continue;
        if (count < room)
            pids[count] = pid;
        count++;
    }
    closedir(proc);
    return living < 0 ? living : count;
}

int sid_open_member(int scope, int id, int pid)
{
    int pidfd = sidos_open_pidfd(pid);

    if (pidfd < 0 || is_member(scope, id, pid))
        return pidfd;
    close(pidfd);
    return -ESRCH;
}

int sid_signal_pidfd(int pidfd, int signal)
{
    return sidos_signal_pidfd(pidfd, signal);
}

int sid_signal_member(int scope, int id, int pid, int signal)
{
    if (!is_member(scope, id, pid))
        return -ESRCH;
    return kill(pid, signal) < 0 ? -errno : 0;
}
