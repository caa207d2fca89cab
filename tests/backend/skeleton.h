/* SPDX-License-Identifier: MIT */
/*
 * skeleton.h - see skeleton.c.
 */
#ifndef BIVALVE_SKELETON_H
#define BIVALVE_SKELETON_H

#include "backend.h"

extern const struct backend_ops skeleton_backend_ops;

#endif
