/* A terminal is lent to a process group, and goes back to the one that had it, with the modes that it had. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "os/os.h"

int sid_get_modes(int tty, struct sid_modes *modes)
{
    struct termios found;

    _Static_assert(sizeof found <= sizeof *modes, "a terminal's modes fit");
    if (tcgetattr(tty, &found) < 0)
        return -errno;
    memcpy(modes, &found, sizeof found);
    return 0;
}

static int set_modes(int tty, const struct sid_modes *modes)
{
    struct termios wanted;

    memcpy(&wanted, modes, sizeof wanted);
    return tcsetattr(tty, TCSANOW, &wanted) < 0 ? -errno : 0;
}

int sid_set_modes(int tty, const struct sid_modes *modes)
{
    struct sidos_blocked were;
    int result;

    sidos_block(&were);
    result = set_modes(tty, modes);
    sidos_unblock(&were);
    return result;
}

static int failed(struct sid_loan *loan, int call)
{
    loan->call = call;
    return -errno;
}

/* By a copy of the file, which is there at the end, whoever closes the caller's meanwhile. */
int sid_lend(struct sid_loan *loan, int tty, int pgid)
{
    int fd, result;

    loan->lender = getpid();
    loan->previous = tcgetpgrp(tty);
    if (loan->previous < 0)
        return failed(loan, SID_CALL_TCGETPGRP);
    if (sid_get_modes(tty, &loan->modes) < 0)
        return failed(loan, SID_CALL_TCGETATTR);
    fd = fcntl(tty, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return failed(loan, SID_CALL_FCNTL);
    result = sid_tcsetpgrp(fd, pgid);
    if (result < 0) {
        loan->call = SID_CALL_TCSETPGRP;
        close(fd);
        return result;
    }
    loan->fd = fd;
    return 0;
}

/*
 * The caller's own group takes it first: the other one could change the modes as long as it has the terminal, and the
 * one that gets it then may do so at once. Meanwhile a Ctrl-C or Ctrl-Z is the caller's, so all signals wait: it shall
 * not stop half-way. SIGTTOU, which both calls send to a caller in the background, is not sent if it is blocked.
 */
static int give_back(struct sid_loan *loan, int fd)
{
    struct sidos_blocked were;
    int own = getpgrp(), taken, set, given;

    sidos_block(&were);
    taken = given = tcsetpgrp(fd, own) < 0 ? failed(loan, SID_CALL_TCSETPGRP) : 0;
    set = set_modes(fd, &loan->modes);
    if (loan->previous != own)
        given = tcsetpgrp(fd, loan->previous) < 0 ? failed(loan, SID_CALL_TCSETPGRP) : 0;
    sidos_unblock(&were);
    if (given == -EPERM || given == -ESRCH || given == -EINVAL) /* that group is gone */
        given = taken;
    if (given == 0 && set < 0)
        loan->call = SID_CALL_TCSETATTR;
    return given < 0 ? given : set;
}

int sid_take_back(struct sid_loan *loan)
{
    int fd = __atomic_exchange_n(&loan->fd, -1, __ATOMIC_ACQ_REL), result = 0;

    if (loan->failed >= 0)
        close(loan->failed);
    loan->failed = -1;
    if (fd < 0)
        return 0;
    if (loan->lender == getpid()) /* else a child that was forked meanwhile */
        result = give_back(loan, fd);
    if (result < 0)
        loan->failed = fd;
    else
        close(fd);
    return result;
}

void sid_drop_loan(struct sid_loan *loan)
{
    if (sid_take_back(loan) < 0)
        sid_take_back(loan);
}
