#!/usr/bin/env bash
# Names of identifiers, checked: no banned word (scripts/banned-words.txt), and no type name that two modules of one crate
# share. Words are split at `_` and at changes of case; comments and strings are free. docs/glossary.md has the terms.
#
# scripts/allowed-names.txt lists the identifiers that may still hold a banned word, one a line: foreign API, and names that
# are part of a format. The list only shrinks: an entry that no code needs is an error too.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files '*.rs' | perl -e '
  use strict; use warnings;
  my (%banned, %allowed, %used, %hits, %types);
  open(my $words, "<", "scripts/banned-words.txt") or die $!;
  while (<$words>) { $banned{$_} = 1 for split }
  open(my $names, "<", "scripts/allowed-names.txt") or die $!;
  while (<$names>) { s/#.*//; $allowed{$_} = 1 for split }
  # Conventional names, which each module may have for itself.
  my %conventional = map { $_ => 1 } qw(Error Config Metrics Labels Request Response Builder Settings Args Cli Inner State
    Options Kind Result);
  while (my $file = <STDIN>) {
    chomp $file;
    open(my $in, "<", $file) or die "$file: $!";
    local $/; my $text = <$in>;
    # Comments, characters, raw strings and strings in one pass: each may contain the signs of the others.
    $text =~ s{//[^\n]*|b?\x27(?:\\.[^\x27]*|[^\\\x27])\x27|\bb?r(#*)"(?s:.*?)"\1|"(?:\\(?s:.)|[^"\\])*"}{}g;
    while ($text =~ /\b([A-Za-z_]\w*)\b/g) {
      my $name = $1;
      for my $word ($name =~ /[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g) {
        next unless $banned{lc $word};
        if ($allowed{$name}) { $used{$name} = 1 } else { $hits{$name}{$file} = 1 }
      }
    }
    next if $file =~ m{(^|/)(tests|benches|examples)/|/tests\w*\.rs$|_test\.rs$};
    my ($crate) = $file =~ m{^([^/]+)/};
    # A test module at the end of a file has its own vocabulary.
    $text =~ s/#\[cfg\(test\)\]\s*mod \w+ \{.*//s;
    while ($text =~ /^\s*(?:pub(?:\([^)]*\))?\s+)?(?:struct|enum|trait|union)\s+([A-Z]\w*)/mg) {
      $types{$crate}{$1}{$file}++ unless $conventional{$1};
    }
  }
  my $failed = 0;
  for my $name (sort keys %hits) {
    print STDERR "names: $name holds a banned word: ", join(", ", sort keys %{$hits{$name}}), "\n"; $failed = 1;
  }
  for my $name (sort keys %allowed) {
    next if $used{$name};
    print STDERR "names: nothing needs $name in scripts/allowed-names.txt any more\n"; $failed = 1;
  }
  for my $crate (sort keys %types) { for my $type (sort keys %{$types{$crate}}) {
    my @files = sort keys %{$types{$crate}{$type}};
    if (@files > 1) { print STDERR "names: $type of $crate stands for several things: ", join(", ", @files), "\n"; $failed = 1 }
  } }
  print "names: clean\n" unless $failed;
  exit $failed;
'
