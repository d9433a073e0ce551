/* FreeBSD: the processes that there are, by sysctl(3). The kernel shows those only that we may see: others are to us as
   if they were not, in getsid(2) and kill(2) too (security.bsd.see_other_uids, see_other_gids, see_jail_proc). */
#include <sys/param.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/proc.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#include "bsd.h"

int sidos_table[] = {CTL_KERN, KERN_PROC, KERN_PROC_PROC};
const unsigned sidos_table_depth = 3;

int sidos_pid_of(const struct kinfo_proc *record)
{
    return record->ki_pid;
}

static int64_t boot_time(void)
{
    int name[] = {CTL_KERN, KERN_BOOTTIME};
    struct timeval time;
    size_t size = sizeof time;

    return sysctl(name, 2, &time, &size, NULL, 0) < 0 ? 0 : sidos_nanoseconds(&time);
}

/* The record of `pid`, and when the system has booted by the clock that the record goes by; 1, 0 or -errno. A number
   larger than any pid is a thread's, of whose process the kernel would tell. */
static int read_record(int pid, struct kinfo_proc *record, int64_t *boot)
{
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, pid};
    int64_t before;
    size_t size;

    do {
        before = boot_time();
        size = sizeof *record;
        if (sysctl(name, 4, record, &size, NULL, 0) < 0)
            return errno == ESRCH ? 0 : -errno;
        *boot = boot_time();
    } while (*boot != before);
    return size == sizeof *record && record->ki_pid == pid;
}

/* As ps(1) has them: who sleeps for 20 seconds idles. */
static int state_of(const struct kinfo_proc *record)
{
    switch (record->ki_stat) {
    case SIDL:
    case SRUN:
        return 'R';
    case SSLEEP:
        if (!(record->ki_tdflags & TDF_SINTR))
            return 'D';
        return record->ki_slptime < 20 ? 'S' : 'I';
    case SSTOP:
        return 'T';
    case SZOMB:
        return 'Z';
    case SWAIT:
        return 'W';
    case SLOCK:
        return 'L';
    default:
        return '?';
    }
}

/* The kernel notes how long the system was up when a process started, and shows it with the boot time added, which
   moves whenever the clock is set: the same process would start at another time then. So it is taken off again. */
static void fill(struct sid_process *process, const struct kinfo_proc *record, int64_t boot)
{
    int has_terminal = record->ki_tdev != NODEV;

    process->pgid = record->ki_pgid;
    process->sid = record->ki_sid;
    process->ppid = record->ki_ppid;
    process->state = state_of(record);
    process->lives = record->ki_stat != SZOMB && !(record->ki_flag & P_WEXIT);
    process->is_kernels = (record->ki_flag & P_KPROC) != 0;
    process->tpgid = has_terminal && record->ki_tpgid < SIDOS_NO_GROUP ? record->ki_tpgid : -1;
    process->user = record->ki_uid;
    process->tty = has_terminal ? record->ki_tdev : 0;
    process->start = sidos_nanoseconds(&record->ki_start) - boot;
    strlcpy(process->command, record->ki_comm, sizeof process->command);
}

int sidos_describe(struct sid_process *process)
{
    struct kinfo_proc record;
    int64_t boot;
    int result = read_record(process->pid, &record, &boot);

    if (result == -EPERM) /* capability mode, which getsid(2) does not mind */
        return -EACCES;
    if (result == 1)
        fill(process, &record, boot);
    return result;
}

/* By the flag for which setpgid(2) refuses a child that has: a fork clears it. */
int sidos_has_executed(int pid, int fd, int pipe_fd, int is_like_us)
{
    struct kinfo_proc record;
    int64_t boot;

    (void)fd, (void)pipe_fd, (void)is_like_us;
    return read_record(pid, &record, &boot) == 1 && (record.ki_flag & P_EXEC);
}

/* ENOMEM: there was too little room, or the process has unmapped some of it. Either way `size` bytes were read. */
void sidos_read_arguments(struct sid_process *process, struct sid_text *text)
{
    int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_ARGS, process->pid}, result;
    size_t room = text->used < text->room ? text->room - text->used : 0, size = room;

    result = sysctl(name, 4, text->bytes + (text->room - room), &size, NULL, 0);
    if (result < 0 && errno != ENOMEM)
        size = 0;
    process->arguments = text->used;
    process->size = (int)size;
    text->used += result < 0 && errno == ENOMEM && size == room ? room + 1 : size;
}

/* A device without a name is called after its number, with a # before it. */
int sidos_terminal_path(uint64_t device, char *path, int room)
{
    char name[SPECNAMELEN + 1];

    if (device == 0 || *devname_r((dev_t)device, S_IFCHR, name, sizeof name) == '#')
        return 0;
    return snprintf(path, (size_t)room, "/dev/%s", name);
}

int64_t sidos_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_UPTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
