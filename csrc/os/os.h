/* The parent's platform layer: what the portable files of csrc/ call. */
#ifndef SID_OS_H
#define SID_OS_H

#include "../sid.h"

struct pollfd;
struct rusage;
struct sidch_ids;
struct timespec;

/* How to make a child and what came of it. */
struct sidos_start {
    int (*main)(void *); /* the child's function; never returns */
    void *argument;
    int shares_memory; /* and the caller sleeps until the child executes or ends; else it gets a copy */
    int by_clone3;     /* which resets caught signals */
    int cgroup_fd;     /* clone3: a cgroup to be born in; -1: the caller's */
    int pidfd;         /* out; -1: none */

    /* For sidos_start_middle. */
    int with_pidfd;       /* both children: in the caller's table of files, which a middle child shares then */
    unsigned char *stack; /* of SIDCH_STACK_SIZE bytes, on a boundary of that; out */
    uint32_t *busy;       /* with shared memory: cleared by the kernel once the child does not use it any more */
    int made;             /* the pid as the kernel tells it: by clone3, and in a copy of memory; out */
};

/* Makes a child that calls start->main; its pid. */
int sidos_start_child(struct sidos_start *start);
/* Makes a middle child that calls middle->main, without an exit signal: nobody hears of it who does not wait by __WALL.
   It has a stack, and so has the child that it makes by sidos_start_from_middle with `program`, to which neither adds
   anything below. With shared memory both are done with it, and the middle child is reaped, when this returns; its pid.
 */
int sidos_start_middle(struct sidos_start *middle, struct sidos_start *program);
/* In a middle child: makes the child `program`, a struct sidos_start; its pid. */
int sidos_start_from_middle(void *program, int by_clone3, int cgroup_fd);
/* Reaps a middle child, which is about to end; a stop does not hold it. */
void sidos_reap_middle(int pid);
/* Sleeps until program->busy is cleared, or nobody is left who could: neither `program` nor others of process group
   `group`, which `leader` is the pidfd of the leader of. A child of ours that has ended there is reaped. */
void sidos_await_release(const struct sidos_start *program, int leader, int group);
/* Reaps a child of ours in the group if one has ended; whether there may be more. */
int sidos_reap_member(int leader, int group);
/* The best way that this system can be shown to support; -EAGAIN or -ENOMEM of `call` for now. */
int sidos_probe_way(enum sid_call *call);

/* Whether the caller is the thread whose end is the end of the process; always where no step is of a thread alone. */
int sidos_is_main_thread(void);
/* Names the calling thread in listings. */
void sidos_name_thread(const char *name);
/* Opens a directory, for what can be done without reading it. */
int sidos_open_directory(const char *path);

/* Whether `fd` is a cgroup v2 directory: 0, -EINVAL, or another -errno. */
int sidos_check_cgroup(int fd);

/* Whether the caller's next child will be in another pid namespace than the caller (and the first one its init). */
int sidos_next_child_is_init(void);

/* Blocks every signal of the calling thread, libc's own too, and thread cancellation. */
struct sidos_blocked {
    uint64_t mask; /* as it was; bit n-1 for signal n */
    uint64_t more; /* signals 65 to 128, where there are any */
    int cancellation;
};
void sidos_block(struct sidos_blocked *was);
/* The same, but not libc's own, by which it has all threads change their ids together: whoever does that waits for us,
   and may hold the interpreter's lock meanwhile. */
void sidos_block_all_but_libcs(struct sidos_blocked *was);
void sidos_unblock(const struct sidos_blocked *was);

/* 0: what stands for a pidfd is a kqueue. It polls readable once the process has ended, and that is all: signals go by
   number, and a forked child does not inherit it. */
extern const int sidos_has_pidfds;
/* A pidfd of process `pid`; -ENOSYS where there is none. */
int sidos_open_pidfd(int pid);
/* A file descriptor that polls readable from now on. */
int sidos_open_readable(void);
/* By what an open pidfd is known again, 0 for no open file; and whether `fd` is the one of which that was asked. */
uint64_t sidos_mark_pidfd(int fd);
int sidos_is_that_pidfd(int fd, uint64_t mark);
/* Sends `signal` to process `pid` through its `pidfd`; by number where that can't be, unless the pidfd tells that the
   process has ended. */
int sidos_signal_pidfd(int pidfd, int pid, int signal);
/* Signals the group that the process leads or, reaped, has led; 0, -ESRCH if none is left, -EINVAL before Linux 6.9.
   Elsewhere -EINVAL once the process has ended. */
int sidos_signal_led_group(int pidfd, int pid, int signal);
/* The wait status of a child that was reaped elsewhere, -1 when the system can't tell. */
int sidos_status_of_reaped(int pidfd, int *status);
/* waitid(2), by `pidfd` where the kernel takes one, with the child's resource usage. */
struct sidos_ended {
    int code; /* CLD_*; 0: nothing to report yet */
    int status;
    int has_usage; /* of a child that has ended: some systems tell it to who reaps it alone */
    int64_t usage[16];
};
int sidos_wait(int pid, int pidfd, int options, struct sidos_ended *ended);
/* Among its options: a child without an exit signal too. */
extern const int sidos_any_child;
/* A struct rusage as struct sid_child has it. */
void sidos_copy_usage(int64_t *to, const struct rusage *from);
/* Open a side of a pseudo-terminal, close-on-exec, and not to become the caller's controlling terminal; its file
   descriptor, or -errno of `call`, an enum sid_call. */
int sidos_open_manager(int *call);
int sidos_open_terminal(int manager, int *call);
/* The number that a manager's terminal has among those of its file system. */
int sidos_pty_number(int manager);
/* Mark an open file, so that it can be told from one that has got its number since, and look for the mark. Nobody else
   notices. */
int sidos_mark(int fd);
int sidos_is_marked(int fd);

/* What sid_lock, sid_unlock and sid_is_locked do. */
int sidos_lock(int fd, int byte);
int sidos_unlock(int fd, int byte);
int sidos_is_locked(int fd, int byte);

/* The pids of all processes that there are, in rising order, in an array for the caller to free; how many, -ENOENT if
   nobody can tell, or another -errno. `thoroughly`: with those that are hidden, however long that takes. */
int sidos_list_pids(int **pids, int thoroughly);
/* Fills what can be known of `process->pid`, all else being 0, its user and arguments apart; 1; 0: gone; -EACCES:
   hidden; or -errno. */
int sidos_describe(struct sid_process *process);
/* The same with its user, and its arguments in the free part of `text`. */
int sidos_describe_fully(struct sid_process *process, struct sid_text *text);
/* What sid_terminal_path and sid_now give. */
int sidos_terminal_path(uint64_t device, char *path, int room);
int64_t sidos_now(void);

/* ppoll(2) without a mask; 0 or more, or -errno. */
int sidos_poll(struct pollfd *files, unsigned count, const struct timespec *timeout);
/* pipe(2), close-on-exec; 0. */
int sidos_pipe(int *ends);
/* kill(2) of a process group, of which at least a zombie is left; 0. */
int sidos_signal_group(int group, int signal);
/* A terminal's foreground group as tcgetpgrp(3) tells it: 0 for none. */
int sidos_foreground(int group);
/* TIOCNOTTY; 0. */
int sidos_release_ctty(int fd);
/* How a whole process changes its credentials. */
const struct sidch_ids *sidos_process_ids(void);

/* Sleeps up to `milliseconds` as long as `word` is `value`, which may be in memory shared with other processes. */
void sidos_await_word(uint32_t *word, uint32_t value, int milliseconds);
/* Whether /proc is there and numbers processes as we do; always where none is needed. */
int sidos_proc_is_ours(void);
/* Whether `pid` has executed its program: it has no longer `fd` open on the pipe that `pipe_fd` is an end of, or the
   kernel says so. `is_like_us`: until then we may look into it. */
int sidos_has_executed(int pid, int fd, int pipe_fd, int is_like_us);

#endif
