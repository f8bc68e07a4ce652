/* SPDX-License-Identifier: Apache-2.0 */
#include "losses.h"
#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include "output.h"
#include "records.h"

static volatile struct th_live *live;
static uint64_t told_events;
static int map;

void losses_open(const struct bpf_object *object, volatile struct th_live *shared)
{
	map = bpf_object__find_map_fd_by_name(object, "losses");
	live = shared;
}

static bool is_event(uint32_t cause)
{
	return cause != TH_LOSS_PAYLOAD_SHED && cause != TH_LOSS_TURN_MISSED;
}

/* Slots only grow; what is new since the last report goes out. */
void losses_report(const struct hooks *hooks, uint64_t now)
{
	static struct th_loss_slot *slots;
	static uint64_t *told_before;
	static unsigned long long missed_before[TH_LOSS_SLOTS];
	static uint64_t report_before;
	int cpus = libbpf_num_possible_cpus();
	unsigned long long missed[TH_LOSS_SLOTS];

	if (!slots) {
		slots = calloc(cpus, sizeof(*slots));
		told_before = calloc(cpus * TH_LOSS_SLOTS, sizeof(*told_before));
	}
	live->loss_epoch++;
	for (uint32_t cause = 0; cause < TH_LOSS_SLOTS; cause++) {
		if (bpf_map_lookup_elem(map, &cause, slots))
			continue;
		for (int cpu = 0; cpu < cpus; cpu++) {
			uint64_t *before = &told_before[cpu * TH_LOSS_SLOTS + cause];
			struct th_loss loss = {.from_mono_ns = slots[cpu].first_ns, .to_mono_ns = slots[cpu].last_ns, .events_lost = slots[cpu].count - *before, .cpu = cpu, .cause = cause};
			if (!loss.events_lost)
				continue;
			*before = slots[cpu].count;
			if (is_event(cause))
				told_events += loss.events_lost;
			output_frame(TH_RECORD_LOSS, &loss, sizeof(loss), NULL, 0);
		}
	}
	hooks_missed(hooks, missed);
	for (uint32_t cause = 0; cause < TH_LOSS_SLOTS; cause++) {
		struct th_loss loss = {.from_mono_ns = report_before ? report_before : now, .to_mono_ns = now, .events_lost = missed[cause] - missed_before[cause], .cpu = -1, .cause = cause};
		if (!loss.events_lost)
			continue;
		if (is_event(cause))
			told_events += loss.events_lost;
		output_frame(TH_RECORD_LOSS, &loss, sizeof(loss), NULL, 0);
	}
	memcpy(missed_before, missed, sizeof(missed));
	report_before = now;
}

uint64_t losses_told(void)
{
	return told_events;
}
