/* A struct sid_child between the files that use it: who may touch its pidfd, and what is known of its end. */
#ifndef SID_HANDLE_H
#define SID_HANDLE_H

#include "os/os.h"

static inline int sidh_is_set(const int *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

/* handle.c */

/* Becomes a user of the pidfd, whose number must not be closed, and given to another file, while a thread waits on it;
   0, or -EBADF when it is closed. */
int sidh_hold(struct sid_child *child);
void sidh_release(struct sid_child *child);
/* The handle's own use of the pidfd, which others follow, and its end. */
void sidh_hold_first(struct sid_child *child);
void sidh_drop(struct sid_child *child);
/* 1: the child is held, release it; 0: it has been reaped, so there is nothing to hold; -EBADF: closed. */
int sidh_enter(struct sid_child *child);
/* Held for moments, and never across Python: a signal handler can't meet it locked. A copy that a fork took while it
   was locked is free. */
void sidh_lock(struct sid_child *child);
void sidh_unlock(struct sid_child *child);

/* detach.c, of a detached one, which can't be waited for. */

/* Whether it has ended; whether a signal has stopped it, where that can be seen. */
int sidh_has_gone(const struct sid_child *child);
int sidh_is_stopped(const struct sid_child *child);

/* reap.c */

/* Notes how the child has ended. */
void sidh_record(struct sid_child *child, int code, int status);
void sidh_record_status(struct sid_child *child, int status);
/* What waitid tells, without taking it. */
int sidh_look(const struct sid_child *child, int options, struct sidos_ended *ended);
/* Under the lock: 1 ended and, unless it has to stay, reaped; 0 still runs; -ECHILD: nobody knows how it ended. */
int sidh_reap_locked(struct sid_child *child);
/* Under the lock we don't reap the child, but somebody else may have: then 0, since the number may be another's. */
int sidh_is_ours_locked(const struct sid_child *child);

#endif
