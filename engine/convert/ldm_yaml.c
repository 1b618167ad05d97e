#include "convert/ldm_yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

static const yaml_node_t *child(yaml_document_t *d, const yaml_node_t *node, const char *key, size_t n) {
  if (!node || node->type != YAML_MAPPING_NODE) return NULL;
  for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
    const yaml_node_t *k = yaml_document_get_node(d, p->key);
    if (k && k->type == YAML_SCALAR_NODE && k->data.scalar.length == n && memcmp(k->data.scalar.value, key, n) == 0)
      return yaml_document_get_node(d, p->value);
  }
  return NULL;
}

/* The text at a path of keys joined by dots, NULL where there is none. */
static const char *at(yaml_document_t *d, const char *path) {
  const yaml_node_t *node = yaml_document_get_root_node(d);
  while (node) {
    size_t n = strcspn(path, ".");
    node = child(d, node, path, n);
    if (path[n] == 0) break;
    path += n + 1;
  }
  return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static double number(yaml_document_t *d, const char *path, double min, double max) {
  const char *text = at(d, path);
  char *end;
  double v = text ? strtod(text, &end) : 0;
  return text && end != text && v >= min && v <= max ? v : 0;
}

static void read_all(yaml_document_t *d, struct ldm_yaml *out) {
  const char *parameterization = at(d, "model.params.parameterization");
  snprintf(out->parameterization, sizeof out->parameterization, "%s", parameterization ? parameterization : "");
  out->beta_start = number(d, "model.params.linear_start", 1e-9, 0.999);
  out->beta_end = number(d, "model.params.linear_end", 1e-9, 0.999);
  out->scale_factor = number(d, "model.params.scale_factor", 1e-9, 1e9);
  out->timesteps = (int)number(d, "model.params.timesteps", 1, 100000);
  out->heads = (int)number(d, "model.params.unet_config.params.num_heads", 1, 1024);
  out->head_channels = (int)number(d, "model.params.unet_config.params.num_head_channels", 1, 65536);
}

bool ldm_yaml_read(const void *text, size_t n, const char *name, struct ldm_yaml *out, struct err *e) {
  yaml_parser_t parser;
  yaml_document_t document;
  *out = (struct ldm_yaml){0};
  if (!yaml_parser_initialize(&parser)) return err_set(e, ERR_FIT, "%s: out of memory", name);
  yaml_parser_set_input_string(&parser, text, n);
  bool ok = yaml_parser_load(&parser, &document);
  if (ok) {
    read_all(&document, out);
    yaml_document_delete(&document);
  } else {
    err_set(e, ERR_INPUT, "%s: not valid YAML (line %zu): %s", name, parser.problem_mark.line + 1,
            parser.problem ? parser.problem : "damaged");
  }
  yaml_parser_delete(&parser);
  return ok;
}
