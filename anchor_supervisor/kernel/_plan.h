/* From Python's steps to the plan that a child carries out. Call both with the interpreter lock. */

#ifndef ANCHOR_PLAN_H
#define ANCHOR_PLAN_H

#include <Python.h>

#include "_child.h"

/* Read a tuple of encoded steps, and put the descriptors `given`, a tuple too, where they say so:
 * 0, or -1 with an exception set. Either way free_plan it. The plan points to the steps' strings:
 * whoever carries it out holds the tuple, in which nothing can change. */
int read_plan(struct plan *plan, PyObject *steps, PyObject *given);
void free_plan(struct plan *plan);

#endif
