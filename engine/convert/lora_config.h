/* What a LoRA's configuration (PEFT's adapter_config.json, or diffusers' lora_adapter_metadata) says about the scale of each module. */
#ifndef PDMBOOTH_CONVERT_LORA_CONFIG_H
#define PDMBOOTH_CONVERT_LORA_CONFIG_H

#include "formats/json.h"

/* prefix: "" or "unet." before each field's name. *alpha: of the module of that rank, so that scale = alpha / rank; rank where the
   configuration names none. ERR_INPUT for what is not applied: DoRA, other kinds of adapters, patterns that are not understood. */
bool lora_config_alpha(const struct json *j, const char *prefix, const char *module, int rank, double *alpha, struct err *e);
/* Once for each configuration. */
bool lora_config_check(const struct json *j, const char *prefix, struct err *e);

#endif
