/* macOS: waiting, terminals, pipes. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bsd.h"

const unsigned sidos_notes_of_end = (unsigned)NOTE_EXIT | NOTE_EXITSTATUS;

/* Without taking anything. Only the structure tells whether there was something; exit statuses have more than eight
   bits here, of which all other calls give eight. */
static int look(int pid, int options, struct sidos_ended *ended)
{
    siginfo_t info = {0};

    if (waitid(P_PID, (id_t)pid, &info, options) < 0)
        return -errno;
    ended->code = info.si_signo ? info.si_code : 0;
    ended->status = info.si_status & 0xff;
    return 0;
}

static void decode(int status, struct sidos_ended *ended)
{
    if (WIFSTOPPED(status)) {
        ended->code = CLD_STOPPED;
        ended->status = WSTOPSIG(status);
    } else if (WIFSIGNALED(status)) {
        ended->code = WCOREDUMP(status) ? CLD_DUMPED : CLD_KILLED;
        ended->status = WTERMSIG(status);
    } else {
        ended->code = CLD_EXITED;
        ended->status = WEXITSTATUS(status);
    }
}

/* waitid does not tell what the child has used. */
static int reap(int pid, int options, struct sidos_ended *ended)
{
    struct rusage usage;
    int status, found = wait4(pid, &status, (options & WNOHANG) | (options & WSTOPPED ? WUNTRACED : 0), &usage);

    if (found <= 0)
        return found < 0 ? -errno : 0;
    decode(status, ended);
    ended->has_usage = ended->code != CLD_STOPPED;
    sidos_copy_usage(ended->usage, &usage);
    return 0;
}

/* By number, which is the child's as long as it is not reaped. */
int sidos_wait(int pid, int pidfd, int options, struct sidos_ended *ended)
{
    (void)pidfd;
    *ended = (struct sidos_ended){0};
    if (options & WCONTINUED && !(options & WNOHANG)) /* the kernel wakes nobody when a child goes on */
        return -EAGAIN;
    return options & WEXITED && !(options & WNOWAIT) ? reap(pid, options, ended) : look(pid, options, ended);
}

/* There is no pipe2 before macOS 27: a program that another thread starts in between may get the ends too. */
int sidos_pipe(int *ends)
{
    if (pipe(ends) < 0)
        return -errno;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return 0;
}

void sidos_name_thread(const char *name)
{
    pthread_setname_np(name);
}

/* Only /dev/tty can be told so, and never by a session leader (EINVAL). tty(4) */
int sidos_release_ctty(int fd)
{
    char name[128];
    int tty, result;

    if (ioctl(fd, TIOCPTYGNAME, name) == 0) /* a manager side, which tells its group to everybody */
        return -ENOTTY;
    if (tcgetpgrp(fd) < 0 || (tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        return errno == ENXIO ? -ENOTTY : -errno;
    result = ioctl(tty, TIOCNOTTY) < 0 ? -errno : 0;
    close(tty);
    return result;
}

static int refuse(int fd, int which, int *call)
{
    int error = errno;

    *call = which;
    close(fd);
    return -error;
}

/* Not posix_openpt, which is not said to take O_CLOEXEC. */
int sidos_open_manager(int *call)
{
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (fd < 0) {
        *call = SID_CALL_OPEN;
        return -errno;
    }
    if (grantpt(fd) < 0)
        return refuse(fd, SID_CALL_GRANTPT, call);
    return unlockpt(fd) < 0 ? refuse(fd, SID_CALL_UNLOCKPT, call) : fd;
}

/* What ptsname(3) asks, which has one buffer for all threads. */
int sidos_path_of_terminal(int manager, char *path, int room)
{
    char name[128]; /* the size that the request's number says */

    if (ioctl(manager, TIOCPTYGNAME, name) < 0)
        return -errno;
    return strlcpy(path, name, (size_t)room) < (size_t)room ? 0 : -ENAMETOOLONG;
}

/* /dev/ttys004 */
int sidos_pty_number(int manager)
{
    const char prefix[] = "/dev/ttys";
    char path[128];
    int result = sidos_path_of_terminal(manager, path, sizeof path);

    if (result < 0)
        return result;
    return strncmp(path, prefix, sizeof prefix - 1) == 0 ? atoi(path + sizeof prefix - 1) : -ENOTTY;
}
