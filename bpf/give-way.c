/* SPDX-License-Identifier: Apache-2.0 */
#include "give-way.h"
#include <stdio.h>

/* Idle time of all processors together, percent: below the one it is busy, until it is above the other. */
#define BUSY_BELOW 15
#define CALM_ABOVE 30

bool machine_busy(void)
{
	static unsigned long long idle_before, all_before;
	unsigned long long user, nice, system, idle, iowait, irq, softirq, steal, all;
	FILE *file = fopen("/proc/stat", "r");
	static double smooth = 100;
	static bool busy;

	if (!file)
		return busy;
	if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal) == 8) {
		idle += iowait;
		all = user + nice + system + idle + irq + softirq + steal;
		/* Ticks are coarse: a look at one tenth of a second says little. */
		if (all_before && all > all_before)
			smooth += (100.0 * (idle - idle_before) / (all - all_before) - smooth) * 0.4;
		if (smooth < BUSY_BELOW)
			busy = true;
		else if (smooth > CALM_ABOVE)
			busy = false;
		idle_before = idle;
		all_before = all;
	}
	fclose(file);
	return busy;
}
