/* macOS: the processes that there are, by sysctl(3) and proc_info. */
#include <sys/param.h>

#include <libproc.h>
#include <limits.h>
#include <mach/thread_info.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/proc_info.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <time.h>
#include <unistd.h>

#include "bsd.h"

/* proc_listallpids(3) would be cheaper, but leaves out processes without a word when more have come since the count. */
int sidos_table[] = {CTL_KERN, KERN_PROC, KERN_PROC_ALL, 0};
const unsigned sidos_table_depth = 4;

int sidos_pid_of(const struct kinfo_proc *record)
{
    return record->kp_proc.p_pid;
}

/* getsid(2) finds no zombie. Whoever is left of its group is in the same session, unless it leaves the group for one of
   its own meanwhile. 0: nobody is left, and then nobody can tell. */
static int session_of(int pid, int pgid)
{
    int members[64], count, sid = pid > 0 ? getsid(pid) : 0;

    if (sid >= 0 || pgid <= 0)
        return sid < 0 ? 0 : sid;
    count = proc_listpgrppids(pgid, members, sizeof members);
    for (int i = 0; i < count; i++) {
        sid = getsid(members[i]);
        if (sid >= 0 && getpgid(members[i]) == pgid)
            return sid;
    }
    return 0;
}

/* The letters of ps(1), the busiest first: a process has that of its busiest thread. */
static const char letters[] = "RUSTH?";

static int rank_of(int run_state)
{
    switch (run_state) {
    case TH_STATE_RUNNING:
        return 0;
    case TH_STATE_UNINTERRUPTIBLE:
        return 1;
    case TH_STATE_WAITING:
        return 2;
    case TH_STATE_STOPPED:
        return 3;
    case TH_STATE_HALTED:
        return 4;
    default:
        return 5;
    }
}

/* '?' for another user's process, unless we are root. A few dozen threads tell enough. */
static int state_of_threads(int pid)
{
    uint64_t threads[64];
    int size = proc_pidinfo(pid, PROC_PIDLISTTHREADS, 0, threads, sizeof threads), best = 5;

    for (int i = 0; i < size / (int)sizeof *threads && best > 0; i++) {
        struct proc_threadinfo thread;
        if (proc_pidinfo(pid, PROC_PIDTHREADINFO, threads[i], &thread, sizeof thread) != sizeof thread)
            continue;
        if (rank_of(thread.pth_run_state) < best)
            best = rank_of(thread.pth_run_state);
    }
    return letters[best];
}

/* To the BSD half of the kernel, whatever lives and is not stopped is running; Mach's threads know better. */
static int state_of(const struct extern_proc *proc)
{
    if (proc->p_stat == SZOMB)
        return 'Z';
    return proc->p_stat == SSTOP ? 'T' : state_of_threads(proc->p_pid);
}

/* One whose memory is being taken down is no zombie yet, but nobody finds it any more. */
static int lives(const struct extern_proc *proc)
{
    return proc->p_stat != SZOMB && !(proc->p_flag & P_WEXIT);
}

static int somebody_lives(int group)
{
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PGRP, group};
    size_t size = 64 * sizeof(struct kinfo_proc), found = 0;
    struct kinfo_proc *records = malloc(size);
    int result = records == NULL || sysctl(name, 4, records, &size, NULL, 0) < 0; /* ENOMEM: there are more of them */

    while (!result && found < size / sizeof *records)
        result = lives(&records[found++].kp_proc);
    free(records);
    return result;
}

/* The kernel says EPERM of a group too in which nobody lives any more. */
int sidos_signal_group(int group, int signal)
{
    if (kill(-group, signal) == 0)
        return 0;
    return errno != EPERM ? -errno : somebody_lives(group) ? -EPERM : 0;
}

static void fill(struct sid_process *process, const struct kinfo_proc *record)
{
    const struct extern_proc *proc = &record->kp_proc;
    const struct eproc *more = &record->kp_eproc;
    int has_terminal = more->e_tdev != NODEV;

    process->pgid = more->e_pgid;
    process->sid = session_of(proc->p_pid, more->e_pgid);
    process->ppid = more->e_ppid;
    process->state = state_of(proc);
    process->lives = lives(proc);
    process->is_kernels = (proc->p_flag & P_SYSTEM) != 0;
    process->tpgid = has_terminal && more->e_tpgid < SIDOS_NO_GROUP ? more->e_tpgid : -1;
    process->user = more->e_ucred.cr_uid;
    process->tty = has_terminal ? (uint32_t)more->e_tdev : 0;
    process->start = sidos_nanoseconds(&proc->p_starttime);
    strlcpy(process->command, proc->p_comm, sizeof process->command);
}

/* 1, 0 or -errno. proc_pidinfo(PROC_PIDTBSDINFO) would do for our own user's processes only. */
static int read_record(int pid, struct kinfo_proc *record)
{
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, pid};
    size_t size = sizeof *record;

    if (sysctl(name, 4, record, &size, NULL, 0) < 0)
        return errno == EPERM ? -EACCES : -errno;
    return size == sizeof *record; /* no error: there is none */
}

int sidos_describe(struct sid_process *process)
{
    struct kinfo_proc record;
    int result = read_record(process->pid, &record);

    if (result == 1)
        fill(process, &record);
    return result;
}

/* By the flag for which setpgid(2) refuses a child that has: a fork clears it. */
int sidos_has_executed(int pid, int fd, int pipe_fd, int is_like_us)
{
    struct kinfo_proc record;

    (void)fd, (void)pipe_fd, (void)is_like_us;
    return read_record(pid, &record) == 1 && (record.kp_proc.p_flag & P_EXEC);
}

/* The arguments in the area that the kernel gives: their number, the program's path, padded to the size of a pointer,
   then they, of which the first may be as empty as the padding is, and the environment. How many bytes. */
static size_t find_arguments(const char *area, size_t size, const char **arguments)
{
    size_t at = sizeof(int), first;
    int count;

    *arguments = area;
    if (size <= at)
        return 0;
    memcpy(&count, area, sizeof count);
    first = at += (strnlen(area + at, size - at) / 8 + 1) * 8;
    if (first >= size)
        return 0;
    *arguments = area + first;
    for (; count > 0 && at < size; count--)
        at += strnlen(area + at, size - at) + 1;
    return (at < size ? at : size) - first; /* the process may have scribbled over its last NUL */
}

static void add_arguments(struct sid_process *process, struct sid_text *text, const char *arguments, size_t size)
{
    process->arguments = text->used;
    text->used += size;
    if (size == 0 || text->used > text->room)
        return;
    memcpy(text->bytes + process->arguments, arguments, size);
    process->size = (int)size;
}

/* EINVAL for another user's process. Of what does not fit the kernel gives the end, not the beginning; and it takes no
   more room than this. */
void sidos_read_arguments(struct sid_process *process, struct sid_text *text)
{
    int name[] = {CTL_KERN, KERN_PROCARGS2, process->pid};
    size_t size = ARG_MAX;
    char *area = malloc(size);
    const char *arguments;

    if (area && sysctl(name, 3, area, &size, NULL, 0) == 0 && size < ARG_MAX) {
        size = find_arguments(area, size, &arguments);
        add_arguments(process, text, arguments, size);
    }
    free(area);
}

int sidos_terminal_path(uint64_t device, char *path, int room)
{
    char name[NAME_MAX + 1];

    if (device == 0 || !devname_r((dev_t)device, S_IFCHR, name, sizeof name))
        return 0;
    return snprintf(path, (size_t)room, "/dev/%s", name);
}

/* The kernel notes the time of day when a process starts, and never changes it. */
int64_t sidos_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
