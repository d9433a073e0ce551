/* The C core's one header: the system's headers and the declarations that cffi reads too. */
#ifndef SID_H
#define SID_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "sid.cdef.h"

#endif
