/* Who is in a session or a process group. */
#ifndef SID_MEMBERS_H
#define SID_MEMBERS_H

#include "os/os.h"

/* procs.c: whether process `pid` is in the session or group `id`. */
int sidh_is_member(int scope, int id, int pid);

#endif
