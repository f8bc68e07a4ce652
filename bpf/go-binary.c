/* SPDX-License-Identifier: Apache-2.0 */
/* Reads ELF sections that every Go program keeps, stripped or not: the build information, which names the version, and the table of
 * functions (.gopclntab), which the runtime itself needs for stack traces. */
#include "go-binary.h"
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_SECTIONS 4096
#define MOST_NAMES (1 << 20)
#define MOST_TABLE (256u << 20)
#define WANTED "net/http.(*persistConn).roundTrip"

struct file {
	int fd;
	uint64_t size;
	Elf64_Ehdr header;
	Elf64_Shdr *sections;
	char *names;
	uint64_t names_size;
};

/* Of each version: offsets in runtime.g of goid and parentGoid, in net/http.persistConn of conn. Read from the debug information of
 * programs built with go1.18.10, 1.19.13, 1.20.14, 1.21.0, ... 1.26.0. */
static const struct {
	int minor;
	struct th_go_layout layout;
} layouts[] = {
	{18, {152, 0, 80, 0}},
	{21, {152, 272, 80, 0}},
	{23, {160, 280, 80, 0}},
	{25, {152, 272, 80, 0}},
	{26, {152, 280, 80, 0}},
};
#define NEWEST 26

static void *read_part(const struct file *file, uint64_t offset, uint64_t size, uint64_t most)
{
	uint8_t *bytes;
	uint64_t have = 0;

	if (!size || size > most || offset > file->size || size > file->size - offset)
		return NULL;
	bytes = malloc(size + 1);
	while (bytes && have < size) {
		ssize_t length = pread(file->fd, bytes + have, size - have, offset + have);
		if (length <= 0) {
			free(bytes);
			return NULL;
		}
		have += length;
	}
	if (bytes)
		bytes[size] = 0;
	return bytes;
}

static bool file_open(struct file *file, const char *path)
{
	struct stat about;

	memset(file, 0, sizeof(*file));
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0)
		return false;
	if (fstat(file->fd, &about) || !S_ISREG(about.st_mode) || pread(file->fd, &file->header, sizeof(file->header), 0) != sizeof(file->header))
		return false;
	file->size = about.st_size;
	const Elf64_Ehdr *header = &file->header;
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	if (header->e_shentsize != sizeof(Elf64_Shdr) || !header->e_shnum || header->e_shnum > MOST_SECTIONS || header->e_shstrndx >= header->e_shnum)
		return true;
	file->sections = read_part(file, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr), MOST_SECTIONS * sizeof(Elf64_Shdr));
	if (file->sections) {
		file->names_size = file->sections[header->e_shstrndx].sh_size;
		file->names = read_part(file, file->sections[header->e_shstrndx].sh_offset, file->names_size, MOST_NAMES);
	}
	return true;
}

static void file_close(struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->sections);
	free(file->names);
}

static const Elf64_Shdr *section_of(const struct file *file, const char *name)
{
	if (!file->sections || !file->names)
		return NULL;
	for (int i = 0; i < file->header.e_shnum; i++)
		if (file->sections[i].sh_name < file->names_size && !strcmp(file->names + file->sections[i].sh_name, name))
			return &file->sections[i];
	return NULL;
}

/* Since 1.18 the version stands in the section itself, behind a header of 32 bytes, its length as a varint before it. */
static bool read_version(const struct file *file, char *to, size_t size)
{
	const Elf64_Shdr *section = section_of(file, ".go.buildinfo");
	bool found = false;

	if (!section)
		return false;
	uint64_t length = section->sh_size < 4096 ? section->sh_size : 4096;
	uint8_t *info = read_part(file, section->sh_offset, length, 4096);
	to[0] = 0;
	if (info && length > 34 && !memcmp(info, "\xff Go buildinf:", 14)) {
		found = true;
		if ((info[15] & 2) && info[32] < 128 && 33u + info[32] <= length && info[32] < size) {
			memcpy(to, info + 33, info[32]);
			to[info[32]] = 0;
		}
	}
	free(info);
	return found;
}

static void choose_layout(struct go_binary *binary)
{
	int minor = 0;

	if (sscanf(binary->version, "go1.%d", &minor) != 1 || minor < layouts[0].minor) {
		binary->lacks = "goroutines: its Go version is older than 1.18, or not told";
		return;
	}
	if (minor > NEWEST)
		binary->lacks = "its Go version is newer than this tracehouse: goroutines are read as the newest known version has them";
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]) && layouts[i].minor <= minor; i++)
		binary->layout = layouts[i].layout;
}

static uint64_t at64(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, 8);
	return value;
}

static uint32_t at32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, 4);
	return value;
}

/* The wanted function's distance from the text's begin; the table's own idea of where that is (0 = left to the loader). */
static bool find_function(const uint8_t *table, uint64_t size, uint64_t *entry, uint64_t *text)
{
	static const char name[] = WANTED;
	uint64_t functions, names, units, list;
	const uint8_t *found;

	if (size < 72 || table[7] != 8)
		return false;
	/* 1.18 and 1.19; since 1.20. */
	if (at32(table) != 0xfffffff0 && at32(table) != 0xfffffff1)
		return false;
	functions = at64(table + 8);
	*text = at64(table + 24);
	names = at64(table + 32);
	units = at64(table + 40);
	list = at64(table + 64);
	if (names >= size || units > size || units < names || list >= size || functions > (size - list) / 8)
		return false;
	found = memmem(table + names, units - names, name, sizeof(name));
	while (found && found > table + names && found[-1])
		found = memmem(found + 1, table + units - found - 1, name, sizeof(name));
	if (!found)
		return false;
	uint32_t wanted = found - table - names;
	for (uint64_t i = 0; i < functions; i++) {
		uint64_t info = list + at32(table + list + i * 8 + 4);
		if (info + 8 > size)
			return false;
		if (at32(table + info + 4) == wanted) {
			*entry = at32(table + list + i * 8);
			return true;
		}
	}
	return false;
}

static uint64_t symbol_address(const struct file *file, const char *name)
{
	const Elf64_Shdr *symbols = section_of(file, ".symtab");
	uint64_t address = 0;

	if (!symbols || symbols->sh_link >= file->header.e_shnum)
		return 0;
	Elf64_Sym *list = read_part(file, symbols->sh_offset, symbols->sh_size, MOST_TABLE);
	const Elf64_Shdr *texts = &file->sections[symbols->sh_link];
	char *strings = read_part(file, texts->sh_offset, texts->sh_size, MOST_TABLE);
	for (uint64_t i = 0; list && strings && i < symbols->sh_size / sizeof(*list) && !address; i++)
		if (list[i].st_name < texts->sh_size && !strcmp(strings + list[i].st_name, name))
			address = list[i].st_value;
	free(list);
	free(strings);
	return address;
}

/* The runtime's own note of where its text begins (moduledata.text): 176 bytes behind its pointer to the table of functions. Both
 * stand in the data, or, of a position-independent program, among the relocations. */
#define TEXT_BEHIND 176

static uint64_t noted_in_data(const struct file *file, uint64_t table)
{
	static const char *const names[] = {".data", ".noptrdata", ".go.module"};
	uint64_t address = 0;

	for (int i = 0; i < 3 && !address; i++) {
		const Elf64_Shdr *section = section_of(file, names[i]);
		uint8_t *bytes = section && section->sh_type != SHT_NOBITS ? read_part(file, section->sh_offset, section->sh_size, MOST_TABLE) : NULL;
		for (uint64_t at = 0; bytes && at + TEXT_BEHIND + 8 <= section->sh_size && !address; at += 8)
			if (at64(bytes + at) == table)
				address = at64(bytes + at + TEXT_BEHIND);
		free(bytes);
	}
	return address;
}

static uint64_t noted_in_relocations(const struct file *file, uint64_t table)
{
	const Elf64_Shdr *section = section_of(file, ".rela.dyn");
	uint64_t address = 0;

	if (!section)
		return 0;
	Elf64_Rela *list = read_part(file, section->sh_offset, section->sh_size, MOST_TABLE);
	uint64_t count = list ? section->sh_size / sizeof(*list) : 0;
	for (uint64_t i = 0; i < count && !address; i++)
		if ((uint64_t)list[i].r_addend == table)
			for (uint64_t other = 0; other < count && !address; other++)
				if (list[other].r_offset == list[i].r_offset + TEXT_BEHIND)
					address = list[other].r_addend;
	free(list);
	return address;
}

static uint64_t file_offset(const struct file *file, uint64_t address)
{
	const Elf64_Ehdr *header = &file->header;
	uint64_t offset = 0;

	if (header->e_phentsize != sizeof(Elf64_Phdr) || !header->e_phnum || header->e_phnum > 256)
		return 0;
	Elf64_Phdr *parts = read_part(file, header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr), 256 * sizeof(Elf64_Phdr));
	for (int i = 0; parts && i < header->e_phnum; i++)
		if (parts[i].p_type == PT_LOAD && (parts[i].p_flags & PF_X) && address >= parts[i].p_vaddr && address - parts[i].p_vaddr < parts[i].p_filesz)
			offset = address - parts[i].p_vaddr + parts[i].p_offset;
	free(parts);
	return offset;
}

/* A Go function begins by comparing the stack's end with g's: cmp rsp, [r14+16], or lea r12, [rsp-frame] first. */
static bool is_prologue(const struct file *file, uint64_t offset)
{
	uint8_t code[4];

	return pread(file->fd, code, 4, offset) == 4 && (!memcmp(code, "\x49\x3b\x66\x10", 4) || (code[0] == 0x4c && code[1] == 0x8d && (code[2] & 0xf8) == 0xa0) || (code[0] == 0x4c && code[1] == 0x8d && code[2] == 0x64));
}

static void find_round_trip(const struct file *file, struct go_binary *binary)
{
	const Elf64_Shdr *section = section_of(file, ".gopclntab"), *text = section_of(file, ".text");
	uint64_t entry, begin = 0, tried = 0;
	uint8_t *table;

	if (!section)
		section = section_of(file, ".data.rel.ro.gopclntab");
	if (!section || !(table = read_part(file, section->sh_offset, section->sh_size, MOST_TABLE))) {
		binary->lacks = "outgoing calls: its table of functions cannot be read";
		return;
	}
	if (find_function(table, section->sh_size, &entry, &begin)) {
		/* Position-independent programs, and all since 1.26, leave the text's begin to the linker. */
		for (int i = 0; i < 5 && !binary->round_trip; i++) {
			switch (i) {
			case 0:
				tried = begin;
				break;
			case 1:
				tried = noted_in_data(file, section->sh_addr);
				break;
			case 2:
				tried = noted_in_relocations(file, section->sh_addr);
				break;
			case 3:
				tried = symbol_address(file, "runtime.text");
				break;
			default:
				tried = text ? text->sh_addr : 0;
			}
			uint64_t offset = tried ? file_offset(file, tried + entry) : 0;
			if (offset && is_prologue(file, offset))
				binary->round_trip = offset;
		}
		if (!binary->round_trip)
			binary->lacks = "outgoing calls of net/http: their entry was not found";
	}
	free(table);
}

bool go_binary_read(const char *path, struct go_binary *binary)
{
	struct file file;
	bool readable = file_open(&file, path);

	memset(binary, 0, sizeof(*binary));
	if (readable && read_version(&file, binary->version, sizeof(binary->version))) {
		binary->is_go = true;
#if defined(__x86_64__)
		if (file.header.e_machine != EM_X86_64) {
			binary->lacks = "goroutines: it is built for another machine";
		} else {
			choose_layout(binary);
			if (binary->layout.goid)
				find_round_trip(&file, binary);
		}
#else
		binary->lacks = "goroutines: they can only be read on x86-64";
#endif
	}
	file_close(&file);
	return readable;
}
