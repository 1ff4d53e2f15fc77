/* SPDX-License-Identifier: MIT
 *
 * What a replay found, for people or as one JSON object.
 */
#ifndef REPLAY_REPLAY_REPORT_H
#define REPLAY_REPLAY_REPORT_H

#include "replay/replay.h"

void replay_report_text(const struct replay *replay, FILE *out);
void replay_report_json(const struct replay *replay, FILE *out);

/* Calls that were answered otherwise than in the recording. */
UINT64 replay_different(const struct replay *replay);

#endif
