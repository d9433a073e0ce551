/* Session, process group, controlling terminal, foreground. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "child.h"

int sidch_process_group(struct sidch_state *state)
{
    int group = state->plan->process_group;

    if (group == SID_GROUP_INHERIT)
        return 0;
    if (group == SID_GROUP_NEW_SESSION)
        return setsid() < 0 ? sidch_fail(state, SID_CALL_SETSID, 0) : 0;
    return setpgid(0, group) < 0 ? sidch_fail(state, SID_CALL_SETPGID, group) : 0;
}

/* The controlling terminal, whatever its name. */
static int open_ctty(void)
{
    return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static int release(struct sidch_state *state)
{
    int fd = open_ctty(), result;

    if (fd < 0) /* ENXIO: there is no controlling terminal to let go of */
        return errno == ENXIO ? 0 : sidch_fail(state, SID_CALL_OPEN, 0);
    result = ioctl(fd, TIOCNOTTY) < 0 ? sidch_fail(state, SID_CALL_TIOCNOTTY, fd) : 0;
    close(fd);
    return result;
}

int sidch_ctty(struct sidch_state *state)
{
    const struct sid_plan *plan = state->plan;

    if (plan->release_ctty)
        return release(state);
    if (plan->ctty < 0)
        return 0;
    return ioctl(plan->ctty, TIOCSCTTY, plan->steal_ctty ? 1 : 0) < 0
               ? sidch_fail(state, SID_CALL_TIOCSCTTY, plan->ctty)
               : 0;
}

/* SIGTTOU is blocked with all the others, so this can't stop a child in the background. */
int sidch_foreground(struct sidch_state *state)
{
    int tty = state->plan->foreground_tty;
    int old;

    if (tty < 0)
        return 0;
    old = tcgetpgrp(tty);
    if (old < 0)
        return sidch_fail(state, SID_CALL_TCGETPGRP, tty);
    if (tcsetpgrp(tty, getpgrp()) < 0)
        return sidch_fail(state, SID_CALL_TCSETPGRP, tty);
    state->old_foreground = old;
    return 0;
}

/*
 * Dispatching the fds may have put another file at the terminal's number. The call is refused then, and /dev/tty is the
 * controlling terminal. A child at its end gives up a file to have a number for that one.
 */
void sidch_return_foreground(struct sidch_state *state)
{
    int fd;

    if (state->old_foreground <= 0 || state->old_foreground == getpgrp())
        return;
    if (tcsetpgrp(state->plan->foreground_tty, state->old_foreground) == 0)
        return;
    fd = open_ctty();
    if (fd < 0 && !state->job->is_own_process) {
        close(STDIN_FILENO);
        fd = open_ctty();
    }
    if (fd < 0)
        return;
    tcsetpgrp(fd, state->old_foreground);
    close(fd);
}
