/* What macOS and FreeBSD share is in bsd*.c; this is what those files ask of the system's own. */
#ifndef SID_BSD_H
#define SID_BSD_H

#include <sys/param.h>
#include <sys/sysctl.h>
#include <sys/time.h>
#ifdef __FreeBSD__
#include <sys/user.h> /* struct kinfo_proc */
#endif

#include "os.h"

/* The kernel's NO_PID, one more than the largest pid: what a terminal without a foreground group has. */
enum { SIDOS_NO_GROUP = 100000 };

static inline int64_t sidos_nanoseconds(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000000 + (int64_t)time->tv_usec * 1000;
}

/* The name of the table of all processes, for sysctl(3). */
extern int sidos_table[];
extern const unsigned sidos_table_depth;
int sidos_pid_of(const struct kinfo_proc *);
/* Adds the arguments of a process, if there is room for them. */
void sidos_read_arguments(struct sid_process *, struct sid_text *);

/* What EVFILT_PROC is to tell of a child's end, with its status. */
extern const unsigned sidos_notes_of_end;

/* The path of a manager's terminal: 0 or -errno. */
int sidos_path_of_terminal(int manager, char *path, int room);

#endif
