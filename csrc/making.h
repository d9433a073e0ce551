/* Making a child, between the files that do it. */
#ifndef SID_MAKING_H
#define SID_MAKING_H

#include "child/child.h"
#include "handle.h"

/* How often the parent looks after a child that nothing tells of. */
enum { SIDH_LOOK_EVERY = 10 /* milliseconds */ };

/* job.c: what a plan needs that only the parent can open. */

/* Notes that `call` failed with `error`, which is negative; that. */
int sidh_failed(struct sid_report *report, enum sid_stage stage, enum sid_call call, int error);
/* Moves `*fd` to a number from 3 up that the plan gives to no other file; 0. */
int sidh_out_of_the_way(const struct sid_plan *plan, int *fd);
/* Opens job->cgroup_fd where the plan names a cgroup; 0, or -errno with `report` filled. */
int sidh_open_cgroup(struct sidch_job *job, struct sid_report *report);
/* Opens job->cgroup_fd and job->parent_pidfd where the plan asks for them; 0, or -errno with `report` filled. */
int sidh_open_job(struct sidch_job *job, struct sid_report *report);
void sidh_close_job(const struct sidch_job *job);

/* ways.c: the ways to make a child. */

/* The way for a plan, by probing where need be; -EAGAIN or -ENOMEM of `call`. */
int sidh_way_for(const struct sid_plan *plan, enum sid_call *call);
int sidh_shares_memory(int way);
int sidh_uses_clone3(int way);
/* clone3 was refused, as by a system call filter: from now on clone serves. */
void sidh_distrust_clone3(void);
/* Makes the child that carries out `job`; 0, or -errno with child->report filled. */
int sidh_make_child(struct sidch_job *job, int way, struct sid_child *child);
/* A pidfd of `pid`; -ENOSYS where there is none. */
int sidh_open_pidfd(int pid);
/* Whether this kernel has pidfds. */
int sidh_has_pidfds(void);
/* Notes the pid of a child just made, and its pidfd (or -1, to have one opened). */
void sidh_adopt(struct sid_child *child, int pid, int pidfd);

/* helper.c: sidos_start_child, called on a thread that lives as long as the process. -errno of pthread_create. */
int sidh_start_on_helper(struct sidos_start *start, enum sid_call *call);

/* report.c: how the parent learns what has become of a child. */

/* Makes the child in that way and waits until it has executed, or failed, or ended; 0 or -errno of making it. */
int sidh_make_and_wait(int way, struct sidch_job *job, struct sid_child *child);
/* Wait until the child has executed, or failed, or ended: by a page, through a pipe. */
void sidh_await_page(struct sidch_page *page, struct sid_child *child);
void sidh_read_report(int fd, const struct sidch_job *job, struct sid_child *child);
/* Opens the pipe for a child's report, its write end out of the plan's way; 0 or -errno. */
int sidh_open_pipe(const struct sid_plan *plan, int *ends);
/* Reads one record from a pipe into `report`; 1, 0: end of file, or -errno. */
int sidh_read_record(int fd, struct sid_report *report);
/* Has a child go on that was stopped before its time; the stop is noted, to be sent anew. */
void sidh_put_off_stop(struct sid_child *child);
int sidh_has_ended(const struct sid_child *child);
/* Reaps a child that has failed: it has ended or is about to. */
void sidh_reap_failed(struct sid_child *child);
/* Sends the stop signals anew that the child has put off. */
void sidh_resend_stops(struct sid_child *child);
/* The child is its user's from here on. */
void sidh_hand_over(struct sid_child *child, int leads_session);
/* The child has reported: reaps a failed one, hands over the other; 0 or -errno. */
int sidh_settle(const struct sid_plan *plan, struct sid_child *child);

/* detach.c: a program that is nobody's child. */

/* Starts it in that way and waits until it has executed, or failed, or ended; 0, or -errno with child->report filled
   and no process left. */
int sidh_detach(int way, struct sidch_job *job, struct sid_child *child);

#endif
