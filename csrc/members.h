/* Who is in a session or a process group. */
#ifndef SID_MEMBERS_H
#define SID_MEMBERS_H

#include "os/os.h"

/* procs.c: whether process `pid` is in the session or group `id`. */
int sidh_is_member(int scope, int id, int pid);
/* The same, or it has just ended: then nobody can tell. */
int sidh_may_be_member(int scope, int id, int pid);

/* Whom a pass over all processes has met that did not live (any more). A process that forks and ends before the pass
   comes to it has a child that is on no list, so a pass that meets no living member proves nothing by itself. */
struct sidh_dead {
    int passes;
    int count;
    uint64_t sum; /* of their pids */
};

void sidh_add_dead(struct sidh_dead *dead, int pid);
/* Whether it is believed that nobody lives, after a pass that met no living member but `dead`: there are none, or the
   pass before has met the same ones. If not, `dead` is ready for another pass. */
int sidh_nobody_lives(struct sidh_dead *dead, struct sidh_dead *before);

#endif
