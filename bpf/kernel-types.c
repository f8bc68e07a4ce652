/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel-types.h"
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct btf *kernel;

bool kernel_types_open(void)
{
	kernel = access("/sys/kernel/btf/vmlinux", R_OK) == 0 ? btf__load_vmlinux_btf() : NULL;
	if (kernel && libbpf_get_error(kernel))
		kernel = NULL;
	return kernel;
}

void kernel_types_close(void)
{
	btf__free(kernel);
	kernel = NULL;
	malloc_trim(0);
}

bool kernel_has_tracepoint(const char *name)
{
	char type[128];

	snprintf(type, sizeof(type), "btf_trace_%s", name);
	return kernel && btf__find_by_name_kind(kernel, type, BTF_KIND_TYPEDEF) > 0;
}

int kernel_arguments_of(const char *function)
{
	int id = kernel ? btf__find_by_name_kind(kernel, function, BTF_KIND_FUNC) : -1;

	return id < 0 ? -1 : btf_vlen(btf__type_by_id(kernel, btf__type_by_id(kernel, id)->type));
}

static int member_offset(const struct btf_type *type, const char *name)
{
	const struct btf_member *members = btf_members(type);

	for (int i = 0; i < btf_vlen(type); i++) {
		const char *here = btf__name_by_offset(kernel, members[i].name_off);
		int offset = btf_member_bit_offset(type, i) / 8;
		const struct btf_type *inner = btf__type_by_id(kernel, members[i].type);
		if (!strcmp(here, name))
			return offset;
		if (!*here && btf_is_composite(inner)) {
			int deeper = member_offset(inner, name);
			if (deeper >= 0)
				return offset + deeper;
		}
	}
	return -1;
}

int64_t kernel_preempt_delta(void)
{
	int64_t queue = -1, count = -1;
	int id = kernel ? btf__find_by_name_kind(kernel, ".data..percpu", BTF_KIND_DATASEC) : -1;

	if (id > 0) {
		const struct btf_type *section = btf__type_by_id(kernel, id);
		const struct btf_var_secinfo *vars = btf_var_secinfos(section);
		for (int i = 0; i < btf_vlen(section); i++) {
			const struct btf_type *var = btf__type_by_id(kernel, vars[i].type);
			const char *name = btf__name_by_offset(kernel, var->name_off);
			if (!strcmp(name, "runqueues"))
				queue = vars[i].offset;
			else if (!strcmp(name, "__preempt_count"))
				count = vars[i].offset;
			else if (!strcmp(name, "pcpu_hot")) {
				int inside = member_offset(btf__type_by_id(kernel, btf__resolve_type(kernel, var->type)), "preempt_count");
				if (inside >= 0)
					count = (int64_t)vars[i].offset + inside;
			}
		}
	}
	return queue >= 0 && count >= 0 ? count - queue : 0;
}
