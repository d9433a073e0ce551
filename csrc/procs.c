/* The processes of a session or a process group. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
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

/* The size of what /proc tells of a process, in `stat`, which ends with NUL; 0: gone; or -errno, as when no file is
   left to look with. */
static int read_stat(int pid, char *stat, size_t room)
{
    char path[32];
    ssize_t size;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    size = read(fd, stat, room - 1);
    close(fd);
    stat[size < 0 ? 0 : size] = '\0';
    return size < 0 ? 0 : (int)size;
}

/* 1, 0, or -errno when there is no file left to look with. */
static int is_living(int pid)
{
    char stat[512];
    int size = read_stat(pid, stat, sizeof stat);

    if (size < 0)
        return size == -EMFILE || size == -ENFILE ? size : 1; /* hidden is not gone */
    return size > 0 && !is_zombie(stat);
}

static DIR *open_proc(void)
{
    return sidos_proc_is_ours() ? opendir("/proc") : (errno = ENOENT, NULL);
}

/* A process that starts or ends during the pass may be missed: repeat it where that matters. */
int sid_members(int scope, int id, int *pids, int room)
{
    DIR *proc = open_proc();
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

/* 1 if it lives and can be seen, else 0. */
static int relation_of(int pid, struct sid_relation *relation)
{
    char stat[512];
    const char *field;

    if (read_stat(pid, stat, sizeof stat) <= 0 || is_zombie(stat) || !(field = strrchr(stat, ')')))
        return 0;
    relation->pid = pid;
    return sscanf(field + 1, " %*c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
                  &relation->ppid, &relation->pgid, &relation->sid, &relation->start) == 4;
}

int sid_relations(struct sid_relation *relations, int room)
{
    DIR *proc = open_proc();
    struct dirent *entry;
    int count = 0;

    if (!proc)
        return -errno;
    while ((entry = readdir(proc))) {
        struct sid_relation relation;
        int pid = atoi(entry->d_name);
        if (pid <= 0 || !relation_of(pid, &relation))
            continue;
        if (count < room)
            relations[count] = relation;
        count++;
    }
    closedir(proc);
    return count;
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
