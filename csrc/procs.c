/* The processes that there are, and those of a session or a process group. */
#include <stdlib.h>
#include <unistd.h>

#include "members.h"

int sidh_is_member(int scope, int id, int pid)
{
    return (scope == SID_SCOPE_SESSION ? getsid(pid) : getpgid(pid)) == id;
}

static int look_at(struct sid_process *process, struct sid_text *text)
{
    return text ? sidos_describe_fully(process, text) : sidos_describe(process);
}

/* Who is hidden is there all the same, but -EMFILE tells nothing. Asked twice, since a number that has become another's
   during the first look seems hidden as well. */
static int describe(int pid, struct sid_process *process, struct sid_text *text)
{
    int result;

    *process = (struct sid_process){.pid = pid, .user = (unsigned)-1, .tpgid = -1};
    if ((result = look_at(process, text)) == -EACCES)
        result = look_at(process, text);
    if (result != -EACCES)
        return result;
    process->pgid = getpgid(pid);
    process->sid = getsid(pid);
    process->lives = 1;
    return process->pgid >= 0 && process->sid >= 0;
}

int sid_process(int pid, struct sid_process *process, struct sid_text *text)
{
    if (text && !sidos_proc_is_ours()) /* else whoever asks has seen to it */
        return -ENOENT;
    return describe(pid, process, text);
}

int sid_sessions(int *sids, int room)
{
    int *pids, count = sidos_list_pids(&pids, 1), found = 0;

    for (int i = 0; i < count; i++) {
        int sid = getsid(pids[i]);
        if (sid < 0)
            continue;
        if (found < room)
            sids[found] = sid;
        found++;
    }
    if (count >= 0)
        free(pids);
    return count < 0 ? count : found;
}

/* The BSDs' getsid does not find a zombie: whoever it does not find may be one. */
int sidh_may_be_member(int scope, int id, int pid)
{
    int result;

    if (scope == SID_SCOPE_ALL)
        return 1;
    result = scope == SID_SCOPE_SESSION ? getsid(pid) : getpgid(pid);
    return result == id || (result < 0 && errno == ESRCH);
}

static int is_in(int scope, int id, const struct sid_process *process)
{
    return scope == SID_SCOPE_ALL || (scope == SID_SCOPE_SESSION ? process->sid : process->pgid) == id;
}

void sidh_add_dead(struct sidh_dead *dead, int pid)
{
    dead->count++;
    dead->sum += (uint64_t)pid;
}

/* Never after one pass: who has forked and ended meanwhile may be neither at its old number nor, where the numbers have
   begun anew, at one that was still to come. */
int sidh_nobody_lives(struct sidh_dead *dead, struct sidh_dead *before)
{
    const int most = 64; /* where others end all the time */
    int passes = dead->passes + 1;
    int same = dead->count == before->count && dead->sum == before->sum;

    if (passes >= most || (passes > 1 && same))
        return 1;
    *before = *dead;
    *dead = (struct sidh_dead){.passes = passes};
    return 0;
}

/* How many were found; `lives` if one of them does, or there was no room to know. */
static int look(int scope, int id, struct sid_process *processes, int room, struct sid_text *text,
                struct sidh_dead *dead, int *lives)
{
    int *pids, count = sidos_list_pids(&pids, text != NULL), found = 0, result = 0;

    for (int i = 0; i < count && result >= 0; i++) {
        struct sid_process *process;
        if (!sidh_may_be_member(scope, id, pids[i]))
            continue;
        if (found >= room) { /* to be asked again: it is enough to count */
            *lives = 1;
            found++;
            continue;
        }
        process = &processes[found];
        if ((result = describe(pids[i], process, text)) <= 0 || !process->lives)
            sidh_add_dead(dead, pids[i]);
        if (result > 0 && is_in(scope, id, process)) {
            *lives |= process->lives;
            found++;
        }
    }
    if (count >= 0)
        free(pids);
    return count < 0 ? count : result < 0 ? result : found;
}

int sid_processes(int scope, int id, struct sid_process *processes, int room, struct sid_text *text)
{
    struct sidh_dead dead = {0}, before = {0};
    int found, lives = 0;

    do {
        if (text)
            text->used = 0;
        found = look(scope, id, processes, room, text, &dead, &lives);
    } while (found >= 0 && !lives && !sidh_nobody_lives(&dead, &before));
    return found;
}

int sid_terminal_path(uint64_t device, char *path, int room)
{
    return sidos_terminal_path(device, path, room);
}

int64_t sid_now(void)
{
    return sidos_now();
}
