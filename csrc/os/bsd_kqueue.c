/*
 * macOS and FreeBSD: a kqueue in place of a pidfd. It is readable once its process has ended, for as long as nobody
 * takes the event from it. kqueue(2)
 *
 * A fork does not inherit kqueues: in the child its number is no file, or another one. So each bears a mark.
 */
#include <sys/types.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "bsd.h"

const int sidos_has_pidfds = 0;

/* Events of our own: the first says that the process has ended; those from the second on are marks, and never occur. */
enum { ENDED = 0, FIRST_MARK = 0x73696400 };

static int change(int fd, uintptr_t number, int filter, int flags, unsigned notes)
{
    struct kevent change;

    EV_SET(&change, number, (short)filter, (unsigned short)flags, notes, 0, NULL);
    return kevent(fd, &change, 1, NULL, 0, NULL) < 0 ? -errno : 0;
}

static int make_readable(int fd)
{
    int result = change(fd, ENDED, EVFILT_USER, EV_ADD, 0);

    return result < 0 ? result : change(fd, ENDED, EVFILT_USER, 0, NOTE_TRIGGER);
}

static int has_ended(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};

    return poll(&end, 1, 0) > 0;
}

/* macOS tells the status to the parent only, or to who may end the process. And it knows no zombie here, to which
   kill(2) has nothing to say either, but a signal 0 finds it. */
static int watch(int fd, int pid)
{
    int result = change(fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD, sidos_notes_of_end);

    if (result == -EACCES)
        result = change(fd, (uintptr_t)pid, EVFILT_PROC, EV_ADD, NOTE_EXIT);
    if (result == -ESRCH && (kill(pid, 0) == 0 || errno == EPERM))
        result = make_readable(fd);
    return result;
}

static int new_kqueue(void)
{
    int fd = kqueue();

    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC); /* no fork can come in between: it would not have it */
    return fd;
}

int sidos_open_pidfd(int pid)
{
    int fd = pid > 0 ? new_kqueue() : -ESRCH, result;

    if (fd < 0 || (result = watch(fd, pid)) == 0)
        return fd;
    close(fd);
    return result;
}

int sidos_open_readable(void)
{
    int fd = new_kqueue(), result;

    if (fd < 0 || (result = make_readable(fd)) == 0)
        return fd;
    close(fd);
    return result;
}

uint64_t sidos_mark_pidfd(int fd)
{
    static uint32_t marks;
    uint32_t mark = FIRST_MARK + __atomic_fetch_add(&marks, 1, __ATOMIC_RELAXED);

    return fd >= 0 && change(fd, mark, EVFILT_USER, EV_ADD, 0) == 0 ? mark : 0;
}

/* To enable what is enabled does nothing; an event that is not there gives ENOENT. */
int sidos_is_that_pidfd(int fd, uint64_t mark)
{
    return mark && change(fd, (uintptr_t)mark, EVFILT_USER, EV_ENABLE, 0) == 0;
}

int sidos_signal_pidfd(int pidfd, int pid, int signal)
{
    if (has_ended(pidfd))
        return -ESRCH;
    return kill(pid, signal) < 0 ? -errno : 0;
}

/* As long as the process lives the group's number is its own. */
int sidos_signal_led_group(int pidfd, int pid, int signal)
{
    if (pid <= 1 || has_ended(pidfd))
        return -EINVAL;
    return kill(-pid, signal) < 0 ? -errno : 0;
}

/* The event with the status can be taken but once. Before that another one keeps the kqueue readable for all others. */
int sidos_status_of_reaped(int pidfd, int *status)
{
    const struct timespec at_once = {0, 0};
    struct kevent events[2];
    int count;

    if (pidfd < 0 || make_readable(pidfd) < 0)
        return -1;
    count = kevent(pidfd, NULL, 0, events, 2, &at_once);
    for (int i = 0; i < count; i++)
        if (events[i].filter == EVFILT_PROC && (events[i].fflags & sidos_notes_of_end) == sidos_notes_of_end) {
            *status = (int)events[i].data & 0xffff;
            return 0;
        }
    return -1;
}
