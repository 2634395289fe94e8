package calendar

// gregorian counts as ISO 8601 does, backwards beyond 1582 too.
func gregorian() *Calendar {
	return &Calendar{
		code: "gregorian", first: 1000, last: 9999, months: 12, names: named(gregorianMonths[:]),
		newYear: func(y int) int { y--; return 365*y + y/4 - y/100 + y/400 - 719162 },
		length: func(y, m int) int {
			switch {
			case m == 2 && y%4 == 0 && (y%100 != 0 || y%400 == 0):
				return 29
			case m == 2:
				return 28
			case m == 4, m == 6, m == 9, m == 11:
				return 30
			}
			return 31
		},
	}
}

// ethiopic is the civil calendar of Ethiopia and Eritrea, in years of Mercy (Amete Mihret).
// Pagumen, the thirteenth month, has a sixth day in each year before one divisible by four.
func ethiopic() *Calendar {
	return &Calendar{
		code: "ethiopic", first: 1000, last: 3000, months: 13, names: named(ethiopicMonths[:]),
		newYear: func(y int) int { return 365*y + y/4 - 716732 }, // 1 Meskerem 2000 is 2007-09-12
		length: func(y, m int) int {
			switch {
			case m < 13:
				return 30
			case y%4 == 3:
				return 6
			}
			return 5
		},
	}
}

// solarHijri is the civil calendar of Iran and Afghanistan. By law the year begins with the
// vernal equinox as it is at Tehran; the cycle of 8 leap years in 33 agrees with that in the
// whole range, which a test computes. Iran took these lengths of months by the law of 1304
// (1925), Afghanistan in 1336 (1957): older dates are taken as if they had been in use, as
// registries write them.
func solarHijri() *Calendar {
	leaps := func(y int) int { return (8*y + 21) / 33 }
	return &Calendar{
		code: "solar_hijri", first: 1206, last: 1498, months: 12, names: named(solarHijriMonths[:]),
		newYear: func(y int) int { return 365*y + leaps(y) - 492633 }, // 1 Farvardin 1403 is 2024-03-20
		length: func(y, m int) int {
			switch {
			case m <= 6:
				return 31
			case m < 12 || (25*y+11)%33 < 8:
				return 30
			}
			return 29
		},
	}
}

// hijri is the Umm al-Qura calendar of Saudi Arabia, the only one of the Islamic calendars that
// is computed and published for civil use. Where the moon is watched for, a month may begin a
// day or two before or after.
func hijri() *Calendar {
	const first = 1300
	length := func(y, m int) int { return 29 + int(ummAlQura[y-first]>>(m-1)&1) }
	days := make([]int, len(ummAlQura))
	for i := range days {
		for m := 1; m <= 12; m++ {
			days[i] += length(first+i, m)
		}
	}
	return &Calendar{
		code: "hijri", first: first, last: first + len(days) - 1, months: 12, names: named(hijriMonths[:]),
		newYear: tabled(first, -31826, days), // 1882-11-12
		length:  length,
	}
}

// bikramSambat is the civil calendar of Nepal. Its months follow the sun and no short rule;
// each year's are published shortly before it.
func bikramSambat() *Calendar {
	const first = 1970
	days := make([]int, len(bikramSambatDays))
	for i, months := range bikramSambatDays {
		for _, n := range months {
			days[i] += int(n)
		}
	}
	return &Calendar{
		code: "bikram_sambat", first: first, last: first + len(days) - 1, months: 12, names: named(bikramSambatMonths[:]),
		newYear: tabled(first, -20717, days), // 1913-04-13
		length:  func(y, m int) int { return int(bikramSambatDays[y-first][m-1]) },
	}
}
