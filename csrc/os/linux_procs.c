/* Linux: the processes that there are, by /proc. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

/* getdents64(2)'s record; libc has it under several names or not at all. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

struct list {
    int *pids;
    int count;
    int room;
};

static int add(struct list *list, int pid)
{
    if (list->count == list->room) {
        int room = list->room ? 2 * list->room : 1024;
        int *pids = realloc(list->pids, (size_t)room * sizeof *pids);
        if (!pids)
            return -ENOMEM;
        list->pids = pids;
        list->room = room;
    }
    list->pids[list->count++] = pid;
    return 0;
}

static int add_named(struct list *list, const char *entries, long size)
{
    for (long at = 0; at < size;) {
        const struct entry *entry = (const struct entry *)(entries + at);
        int pid = atoi(entry->name);
        if (pid > 0 && add(list, pid) < 0)
            return -ENOMEM;
        at += entry->length;
    }
    return 0;
}

static int add_listed(struct list *list, int proc)
{
    const size_t room = 32768;
    struct entry *entries = malloc(room);
    long size = -1;
    int result = entries ? 0 : -ENOMEM;

    while (result == 0 && (size = syscall(SYS_getdents64, proc, entries, room)) > 0)
        result = add_named(list, (const char *)entries, size);
    if (entries && result == 0 && size < 0)
        result = -errno;
    free(entries);
    return result;
}

/* A thread has a session too, but leads no process. Not asked by a pidfd: there may be no file left for one. */
static int is_process(int pid)
{
    return syscall(SYS_tgkill, pid, pid, 0) == 0 || errno == EPERM;
}

static int add_numbers(struct list *list)
{
    FILE *file = fopen("/proc/sys/kernel/pid_max", "re");
    int last = 4194304, result = 0; /* the largest that there is */

    if (file) {
        if (fscanf(file, "%d", &last) != 1)
            last = 4194304;
        fclose(file);
    }
    for (int pid = 1; pid <= last && result == 0; pid++)
        if (is_process(pid))
            result = add(list, pid);
    return result;
}

static int is_mounted_to_hide(void)
{
    FILE *file = fopen("/proc/self/mounts", "re");
    char line[1024];
    int hides = 0;

    while (file && !hides && fgets(line, sizeof line, file))
        hides = strstr(line, " /proc proc ") && strstr(line, "hidepid=");
    if (file)
        fclose(file);
    return hides;
}

/* The mount option hidepid leaves out what others run, as the first process of all is for most. */
static int hides_others(int proc)
{
    struct stat first;

    if (fstatat(proc, "1", &first, 0) < 0)
        return errno == ENOENT && (getsid(1) >= 0 || errno == EPERM);
    return first.st_uid != 0 && first.st_uid == geteuid() && is_mounted_to_hide();
}

int sidos_list_pids(int **pids, int thoroughly)
{
    struct list list = {0};
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result;

    if (proc < 0)
        return -errno;
    if (!sidos_proc_is_ours())
        result = -ENOENT;
    else
        result = thoroughly && hides_others(proc) ? add_numbers(&list) : add_listed(&list, proc);
    close(proc);
    if (result < 0)
        free(list.pids);
    *pids = result < 0 ? NULL : list.pids;
    return result < 0 ? result : list.count;
}

/* How much of a file was read into `bytes`, or -errno. */
static long read_file(int directory, const char *path, char *bytes, size_t room)
{
    int fd = openat(directory, path, O_RDONLY | O_CLOEXEC), error;
    ssize_t size;

    if (fd < 0)
        return -errno;
    size = read(fd, bytes, room);
    error = errno;
    close(fd);
    return size < 0 ? -error : size;
}

/* The numbers from the fourth field of proc_pid_stat(5) on. */
enum field { PPID, PGID, SID, TTY, TPGID, FLAGS, THREADS = 16, START = 18, FIELDS };

/* Whether the line was whole. The name stands in parentheses, as it is: it may hold those too. */
static int parse_stat(struct sid_process *process, const char *line)
{
    const uint64_t kernels = 0x00200000; /* PF_KTHREAD */
    const char *name = strchr(line, '('), *end = strrchr(line, ')');
    int64_t fields[FIELDS];
    char *at;

    if (!name || !end || end < name || !end[1] || !end[2])
        return 0;
    at = (char *)end + 3;
    for (int i = 0; i < FIELDS; i++)
        fields[i] = (int64_t)strtoull(at, &at, 10);
    snprintf(process->command, sizeof process->command, "%.*s", (int)(end - name - 1), name + 1);
    process->state = end[2];
    process->ppid = (int)fields[PPID];
    process->pgid = (int)fields[PGID];
    process->sid = (int)fields[SID];
    process->tty = (uint32_t)fields[TTY];
    process->tpgid = (int)fields[TPGID];
    process->is_kernels = (fields[FLAGS] & (int64_t)kernels) != 0;
    process->lives = !strchr("ZXx", end[2]) || fields[THREADS] > 1;
    /* Before the beginning of a time namespace it is negative. */
    process->start = fields[START] * (1000000000 / sysconf(_SC_CLK_TCK));
    return 1;
}

/* 1, 0: it is gone, or -errno of the file that tells. */
static int describe_by(struct sid_process *process, int directory, const char *path)
{
    char line[1024];
    long size = read_file(directory, path, line, sizeof line - 1);

    if (size == -EPERM || (size == -ENOENT && getsid(process->pid) >= 0)) /* hidepid=1, and 2 */
        return -EACCES;
    if (size < 0)
        return size == -ENOENT || size == -ESRCH ? 0 : (int)size;
    line[size] = '\0';
    return parse_stat(process, line);
}

int sidos_describe(struct sid_process *process)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/%d/stat", process->pid);
    return describe_by(process, AT_FDCWD, path);
}

static int read_arguments(struct sid_process *process, int directory, struct sid_text *text)
{
    const size_t most = 1 << 18; /* a process may claim to have been given any amount */
    size_t left = text->used < text->room ? text->room - text->used : 0, room = left < most ? left : most;
    long size = room ? read_file(directory, "cmdline", text->bytes + text->used, room) : 0;

    if (size == -EMFILE || size == -ENFILE)
        return (int)size;
    process->arguments = text->used;
    process->size = size < 0 ? 0 : (int)size;
    text->used += room == most || (room && (size_t)process->size < room) ? (size_t)process->size : room + 1;
    return 1;
}

/* The directory of a thread other than the main one, or -errno. */
static int open_other_thread(int directory, int pid)
{
    char entries[1024];
    struct list tasks = {0};
    int task = openat(directory, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), thread = -ENOENT;
    long size = task < 0 ? -1 : syscall(SYS_getdents64, task, entries, sizeof entries);

    if (task < 0 || size < 0 || add_named(&tasks, entries, size) < 0)
        thread = -errno;
    for (int i = 0; i < tasks.count && thread < 0; i++) {
        snprintf(entries, sizeof entries, "%d", tasks.pids[i]);
        if (tasks.pids[i] != pid && (thread = openat(task, entries, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
            thread = -errno;
    }
    free(tasks.pids);
    if (task >= 0)
        close(task);
    return thread;
}

/* Where the main thread alone has ended, its state and its arguments are those of a zombie. */
static int describe_by_other_thread(struct sid_process *process, int directory, struct sid_text *text)
{
    struct sid_process other = {0};
    int thread = open_other_thread(directory, process->pid), result;

    if (thread < 0)
        return thread == -EMFILE || thread == -ENFILE ? thread : 1;
    result = describe_by(&other, thread, "stat");
    if (result > 0) {
        process->state = other.state;
        result = read_arguments(process, thread, text);
    }
    close(thread);
    return result == -EMFILE || result == -ENFILE ? result : 1;
}

/* All through one directory, so that it is all of one process. That has the effective user for its owner, also if
   nobody may look into the process. */
int sidos_describe_fully(struct sid_process *process, struct sid_text *text)
{
    char path[24];
    struct stat owner;
    int directory, result;

    snprintf(path, sizeof path, "/proc/%d", process->pid);
    directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return errno != ENOENT ? -errno : getsid(process->pid) >= 0 ? -EACCES : 0;
    result = describe_by(process, directory, "stat");
    if ((result > 0 || result == -EACCES) && fstat(directory, &owner) == 0)
        process->user = owner.st_uid;
    if (result > 0 && process->lives && process->state == 'Z')
        result = describe_by_other_thread(process, directory, text);
    else if (result > 0 && process->lives && !process->is_kernels)
        result = read_arguments(process, directory, text);
    close(directory);
    return result;
}

/* Decodes a device number as the kernel writes it: 8 bits of the minor, 12 of the major, 12 more of the minor. */
static unsigned minor_of(uint64_t device)
{
    return (unsigned)((device & 0xff) | ((device >> 12) & 0xfff00));
}

static unsigned major_of(uint64_t device)
{
    return (unsigned)((device >> 8) & 0xfff);
}

/* The driver's own name, as for serial lines; a pseudo-terminal has none there. */
static int path_by_driver(unsigned major, unsigned minor, char *path, int room)
{
    char link[48], target[256];
    char *name;
    ssize_t size;

    snprintf(link, sizeof link, "/sys/dev/char/%u:%u", major, minor);
    size = readlink(link, target, sizeof target - 1);
    if (size <= 0)
        return 0;
    target[size] = '\0';
    name = strrchr(target, '/');
    name = name ? name + 1 : target;
    for (char *at = name; *at; at++)
        if (*at == '!') /* how it writes the slash of a directory in /dev */
            *at = '/';
    return snprintf(path, (size_t)room, "/dev/%s", name);
}

int sidos_terminal_path(uint64_t device, char *path, int room)
{
    unsigned major = major_of(device), minor = minor_of(device);
    int size;

    if (device == 0)
        return 0;
    if (major >= 136 && major <= 143) /* Unix98 pseudo-terminals */
        return snprintf(path, (size_t)room, "/dev/pts/%u", (major - 136) * 256 + minor);
    if ((size = path_by_driver(major, minor, path, room)) > 0)
        return size;
    if (major == 4) /* where there is no /sys */
        return snprintf(path, (size_t)room, minor < 64 ? "/dev/tty%u" : "/dev/ttyS%u", minor < 64 ? minor : minor - 64);
    return major == 5 && minor == 1 ? snprintf(path, (size_t)room, "/dev/console") : 0;
}

int64_t sidos_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
