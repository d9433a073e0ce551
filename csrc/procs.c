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
        return errno == ENOENT || errno == ESRCH ? 0 : -errno;
    size = read(fd, stat, room - 1);
    close(fd);
    stat[size < 0 ? 0 : size] = '\0';
    return size < 0 ? 0 : (int)size;
}

int sid_relation(int pid, struct sid_relation *relation)
{
    char stat[512];
    const char *field;
    int size = read_stat(pid, stat, sizeof stat);

    *relation = (struct sid_relation){.pid = pid};
    if (size < 0) /* hidden is not gone, but -EMFILE tells nothing */
        return size == -EMFILE || size == -ENFILE ? size : 1;
    if (size == 0 || is_zombie(stat) || !(field = strrchr(stat, ')')))
        return 0;
    sscanf(field + 1, " %*c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
           &relation->ppid, &relation->pgid, &relation->sid, &relation->start);
    return 1;
}

static int list(int scope, int id, struct sid_relation *relations, int room)
{
    DIR *proc = sidos_proc_is_ours() ? opendir("/proc") : (errno = ENOENT, NULL);
    struct dirent *entry;
    int count = 0, living = 0;

    if (!proc)
        return -errno;
    while (living >= 0 && (entry = readdir(proc))) {
        struct sid_relation relation;
        int pid = atoi(entry->d_name);
        if (pid <= 0 || (id >= 0 && !is_member(scope, id, pid)) || (living = sid_relation(pid, &relation)) <= 0)
            continue;
        if (count < room)
            relations[count] = relation;
        count++;
    }
    closedir(proc);
    return living < 0 ? living : count;
}

/* A process that starts or ends during the pass may be missed: repeat it where that matters. */
int sid_members(int scope, int id, struct sid_relation *members, int room)
{
    return list(scope, id, members, room);
}

int sid_relations(struct sid_relation *relations, int room)
{
    return list(SID_SCOPE_SESSION, -1, relations, room);
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

int sid_group_lives(int pidfd)
{
    int result = pidfd < 0 ? -EINVAL : sidos_signal_led_group(pidfd, 0);

    return result == 0 || result == -EPERM;
}

int sid_signal_member(int scope, int id, int pid, int signal)
{
    if (!is_member(scope, id, pid))
        return -ESRCH;
    return kill(pid, signal) < 0 ? -errno : 0;
}
