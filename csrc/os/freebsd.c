/* FreeBSD: waiting, terminals, pipes. */
#include <sys/types.h>

#include <fcntl.h>
#include <pthread.h>
#include <pthread_np.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bsd.h"

const unsigned sidos_notes_of_end = NOTE_EXIT;

/* By number, which is the child's as long as it is not reaped. Exit statuses have 32 bits here, of which all other
   calls give eight. What it has used includes its own waited-for children, as wait4(2) has it. */
int sidos_wait(int pid, int pidfd, int options, struct sidos_ended *ended)
{
    struct __wrusage usage;
    siginfo_t info = {0};
    int status, found = wait6(P_PID, pid, &status, options, &usage, &info);

    (void)pidfd;
    *ended = (struct sidos_ended){0};
    if (found <= 0)
        return found < 0 ? -errno : 0;
    ended->code = info.si_code;
    ended->status = info.si_status & 0xff;
    ended->has_usage = 1;
    sidos_copy_usage(ended->usage, &usage.wru_self);
    return 0;
}

int sidos_pipe(int *ends)
{
    return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
}

int sidos_signal_group(int group, int signal)
{
    return kill(-group, signal) < 0 ? -errno : 0;
}

void sidos_name_thread(const char *name)
{
    pthread_set_name_np(pthread_self(), name);
}

/* Since FreeBSD 13; ENOTTY before. tty(4) */
int sidos_release_ctty(int fd)
{
    return ioctl(fd, TIOCNOTTY) < 0 ? -errno : 0;
}

/* grantpt and unlockpt have nothing to do here. posix_openpt(2) */
int sidos_open_manager(int *call)
{
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    *call = SID_CALL_POSIX_OPENPT;
    return fd < 0 ? -errno : fd;
}

int sidos_pty_number(int manager)
{
    int number;

    return ioctl(manager, TIOCGPTN, &number) < 0 ? -errno : number;
}

int sidos_path_of_terminal(int manager, char *path, int room)
{
    int number = sidos_pty_number(manager);

    if (number < 0)
        return number;
    snprintf(path, (size_t)room, "/dev/pts/%d", number);
    return 0;
}
