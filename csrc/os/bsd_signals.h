/* Sets of signals of macOS (1 to 31) and FreeBSD (1 to 128) as two words, bit n-1 for signal n. */
#ifndef SID_BSD_SIGNALS_H
#define SID_BSD_SIGNALS_H

#include <signal.h>
#include <stdint.h>

#ifdef _SIG_MAXSIG
enum { SIDOS_LAST_SIGNAL = _SIG_MAXSIG };
#else
enum { SIDOS_LAST_SIGNAL = NSIG - 1 };
#endif

static inline int sidos_has_signal(const uint64_t *words, int signal)
{
    return words[(signal - 1) / 64] >> (signal - 1) % 64 & 1;
}

static inline sigset_t sidos_as_set(uint64_t mask, uint64_t more)
{
    const uint64_t words[] = {mask, more};
    sigset_t set;

    sigemptyset(&set);
    for (int signal = 1; signal <= SIDOS_LAST_SIGNAL; signal++)
        if (sidos_has_signal(words, signal))
            sigaddset(&set, signal);
    return set;
}

#endif
