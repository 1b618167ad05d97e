# The time that a training step's operations cannot beat on a card: the larger of flops over the peak and bytes over the bandwidth, call by call.
# usage: pdmbooth-tui plan PROFILE --operations --set train.precision=bf16 | awk -f roofline.awk
# Peaks are those of the data sheets (dense): tensor cores for products, convolutions and attention of 16-bit types with fp32 sums, fp32 units for
# the rest and for F32; bytes a second of the card's memory.
BEGIN {
  FS = "\t"
  cards = split("A100 80GB|RTX 4090|H200", card, "|")
  split("312e12|165e12|989e12", tensor, "|")
  split("19.5e12|82.6e12|67e12", plain, "|")
  split("2.04e12|1.01e12|4.8e12", memory, "|")
}
NR == 1 { next }
{
  name = $1
  fast = $2 != "F32" && name ~ /^(linear|conv|attention)/
  if (!(name in calls)) order[++names] = name
  calls[name] += $4
  flops[name] += $4 * $5
  bytes[name] += $4 * $6
  for (i = 1; i <= cards; i++) {
    compute = $5 / (fast ? tensor[i] : plain[i])
    move = $6 / memory[i]
    least[name, i] += $4 * (compute > move ? compute : move)
    bound[name, i] += $4 * (compute > move ? compute : 0)
  }
}
END {
  printf "| operation | calls | GFLOP | GB | flops/byte |"
  for (i = 1; i <= cards; i++) printf " %s ms |", card[i]
  print ""
  printf "|---|---|---|---|---|"
  for (i = 1; i <= cards; i++) printf "---|"
  print ""
  for (k = 1; k <= names; k++) {
    n = order[k]
    printf "| %s | %d | %.1f | %.2f | %.0f |", n, calls[n], flops[n] / 1e9, bytes[n] / 1e9, (bytes[n] > 0 ? flops[n] / bytes[n] : 0)
    for (i = 1; i <= cards; i++) {
      printf " %.2f %s |", 1000 * least[n, i], (bound[n, i] > 0.5 * least[n, i] ? "c" : "m")
      sum[i] += least[n, i]
    }
    print ""
    all_flops += flops[n]
    all_bytes += bytes[n]
    all_calls += calls[n]
  }
  printf "| all | %d | %.1f | %.2f | %.0f |", all_calls, all_flops / 1e9, all_bytes / 1e9, all_flops / all_bytes
  for (i = 1; i <= cards; i++) printf " %.1f |", 1000 * sum[i]
  print ""
}
