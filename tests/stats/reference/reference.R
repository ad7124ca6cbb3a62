# Reference values for tests/stats, by base R (4.2.2): Rscript reference.R > reference.csv
# Printed as case,quantity,value with 15 significant digits.

say <- function(case, quantity, value)
  cat(sprintf("%s,%s,%.15g\n", case, quantity, value))

cat("case,quantity,value\n")

# --- Student's t over blocks on the log scale, paired (t.test)
numerator <- c(238.1, 251.9, 229.4, 247.3, 260.8, 233.6)
denominator <- c(61.2, 58.7, 60.9, 57.4, 62.3, 59.5)
for (n in c(2, 3, 6)) {
  log_ratio <- log(numerator[1:n]) - log(denominator[1:n])
  for (level in c(0.90, 0.95)) {
    test <- t.test(log_ratio, conf.level = level)
    case <- sprintf("ratio-%d-%g", n, level)
    say(case, "value", exp(test$estimate))
    say(case, "low", exp(test$conf.int[1]))
    say(case, "high", exp(test$conf.int[2]))
  }
}

# --- ranks of the order-statistic interval with equal tails, by search in the binomial (pbinom)
ranks <- function(n, q, level) {
  tail <- (1 - level) / 2
  low <- max(which(pbinom(0:(n - 1), n, q) <= tail))               # P(X_(low) > quantile)
  high <- min(which(pbinom(0:(n - 1), n, q, lower.tail = FALSE) <= tail)) # P(X_(high) < quantile)
  c(low, high)
}
for (q in c(0.5, 0.95, 0.99)) for (n in c(6, 10, 30, 72, 100, 368, 1000, 5000)) {
  needed <- ceiling(log(0.025) / log(max(q, 1 - q)))
  if (n < needed) next
  r <- ranks(n, q, 0.95)
  say(sprintf("ranks-%d-%g", n, q), "low", r[1])
  say(sprintf("ranks-%d-%g", n, q), "high", r[2])
}

# --- a sequence that numpy can make as well: the Weyl sequence of the golden ratio
weyl <- function(n) (seq_len(n) * (sqrt(5) - 1) / 2) %% 1

# --- quantile of type 1 (Hyndman & Fan 1996)
for (n in c(99, 100, 368)) for (q in c(0.5, 0.95, 0.99))
  say(sprintf("quantile-%d-%g", n, q), "value", quantile(weyl(n), q, type = 1))

# --- MSER-5, by the definition: every candidate in a loop
mser5 <- function(y) {
  m <- length(y) %/% 5
  z <- colMeans(matrix(y[1:(5 * m)], nrow = 5))
  candidates <- 0:(m - 5)
  error <- sapply(candidates, function(d) {
    rest <- z[(d + 1):m]
    sum((rest - mean(rest))^2) / (m - d)^2
  })
  5 * candidates[which.min(error)]
}
startup <- function(n, scale) weyl(n) + 5 * exp(-(seq_len(n) - 1) / scale)
for (n in c(60, 203, 1000)) for (scale in c(2, 20, 150))
  say(sprintf("mser-%d-%g", n, scale), "index", mser5(startup(n, scale)))

# --- Welch's interval between the batches before and after a cut (t.test)
batches <- function(y) colMeans(matrix(y[1:(5 * (length(y) %/% 5))], nrow = 5))
sequence <- startup(203, 20)
test <- t.test(batches(sequence[1:100]), batches(sequence[101:203]))
level <- mean(batches(sequence[101:203]))
say("shift", "value", (test$estimate[1] - test$estimate[2]) / level)
say("shift", "low", test$conf.int[1] / level)
say("shift", "high", test$conf.int[2] / level)

# --- Theil-Sen slope with Sen's interval (Hollander & Wolfe 1999, section 9.3), no ties
x <- seq_len(40)
y <- 10 + 0.05 * x + weyl(40)
pairs <- combn(40, 2)
slopes <- sort((y[pairs[2, ]] - y[pairs[1, ]]) / (x[pairs[2, ]] - x[pairs[1, ]]))
k <- qnorm(0.975) * sqrt(40 * 39 * (2 * 40 + 5) / 18)
low <- round((length(slopes) - k) / 2)
high <- round((length(slopes) + k) / 2) + 1
unit <- (max(x) - min(x)) / median(y)
say("drift", "value", median(slopes) * unit)
say("drift", "low", slopes[low] * unit)
say("drift", "high", slopes[high] * unit)

# --- effective sample size: Geyer's initial monotone sequence over acf()
ess <- function(y) {
  n <- length(y)
  rho <- acf(y, lag.max = n - 1, plot = FALSE)$acf[, 1, 1]
  pairs <- colSums(matrix(rho[1:(2 * (n %/% 2))], nrow = 2))
  stop_at <- which(pairs <= 0)
  if (length(stop_at)) pairs <- pairs[seq_len(stop_at[1] - 1)]
  n / max(2 * sum(cummin(pairs)) - 1, 1)
}
for (phi in c(0.5, 0.9)) {
  y <- as.numeric(stats::filter(qnorm(weyl(500)), phi, method = "recursive"))
  wave <- y + 2 * sin(seq_len(500) / 7)
  say(sprintf("ess-%g", phi), "value", ess(y))
  say(sprintf("ess-wave-%g", phi), "value", ess(wave))
}
