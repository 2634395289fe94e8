package calendar

import (
	"strings"
	"unicode"
)

// The names of months, each in all its spellings. What fold makes equal stands once.
var (
	// English, French, Spanish, Portuguese, Swahili, Arabic (Levant, Egypt and the Gulf, the
	// Maghreb), Amharic, Persian and Nepali.
	gregorianMonths = [...]string{
		"January|Jan|janvier|janv|enero|ene|janeiro|Januari|كانون الثاني|يناير|جانفي|ጃንዩወሪ|ጃንዋሪ|ژانویه|जनवरी",
		"February|Feb|février|févr|fév|febrero|fevereiro|fev|Februari|شباط|فبراير|فيفري|ፌብሩወሪ|ፌብሩዋሪ|فوریه|फेब्रुअरी",
		"March|Mar|mars|marzo|março|Machi|Mac|آذار|مارس|ማርች|मार्च",
		"April|Apr|avril|avr|abril|abr|Aprili|نيسان|أبريل|إبريل|أفريل|ኤፕሪል|آوریل|अप्रिल",
		"May|mai|mayo|maio|Mei|أيار|مايو|ماي|ሜይ|مه|मे",
		"June|Jun|juin|junio|junho|Juni|حزيران|يونيو|يونيه|جوان|ጁን|ژوئن|जुन",
		"July|Jul|juillet|juil|julio|julho|Julai|تموز|يوليو|يوليه|جويلية|ጁላይ|ژوئیه|जुलाई",
		"August|Aug|août|agosto|ago|Agosti|آب|أغسطس|أوت|ኦገስት|اوت|अगस्ट|अगस्त",
		"September|Sep|Sept|septembre|septiembre|setiembre|setembro|set|Septemba|أيلول|سبتمبر|ሴፕቴምበር|سپتامبر|सेप्टेम्बर",
		"October|Oct|octobre|octubre|outubro|out|Oktoba|Okt|تشرين الأول|أكتوبر|ኦክቶበር|اکتبر|अक्टोबर",
		"November|Nov|novembre|noviembre|novembro|Novemba|تشرين الثاني|نوفمبر|ኖቬምበር|نوامبر|नोभेम्बर",
		"December|Dec|décembre|déc|diciembre|dic|dezembro|dez|Desemba|Des|كانون الأول|ديسمبر|ዲሴምበር|دسامبر|डिसेम्बर",
	}

	// Amharic, Tigrinya, Oromo, and Amharic in Latin letters.
	ethiopicMonths = [...]string{
		"መስከረም|Meskerem|Maskaram|Fulbaana",
		"ጥቅምት|ጥቅምቲ|Tikimt|Tekemt|Tiqimt|Teqemt|Onkololeessa",
		"ኅዳር|ሕዳር|Hidar|Hedar|Sadaasa",
		"ታኅሣሥ|ታሕሳስ|Tahsas|Tahisas|Tahesas|Muddee",
		"ጥር|ጥሪ|Tir|Ter|Amajjii",
		"የካቲት|ለካቲት|Yekatit|Yakatit|Guraandhala",
		"መጋቢት|Megabit|Magabit|Bitootessa",
		"ሚያዝያ|ሚያዚያ|Miazia|Miyazya|Miyazia|Ebla|Elba",
		"ግንቦት|ጉንበት|Ginbot|Genbot|Guenbot|Caamsaa",
		"ሰኔ|ሰነ|Sene|Sane|Waxabajjii",
		"ሐምሌ|ሓምለ|Hamle|Adooleessa",
		"ነሐሴ|ነሓሰ|Nehase|Nehasse|Nahase|Hagayya",
		"ጳጉሜን|ጳጉሜ|ጳጕሜን|ጳጕሜ|ጳጉሜ ን|Pagumen|Pagume|Pagumiene|Paguemen|Pwagme|Qaammee",
	}

	// Persian, Dari and Pashto, and each in Latin letters.
	solarHijriMonths = [...]string{
		"فروردین|حمل|وری|Farvardin|Farwardin|Hamal|Wray",
		"اردیبهشت|ثور|غویی|Ordibehesht|Ordebehesht|Sawr|Saur|Thawr|Ghwayay",
		"خرداد|جوزا|غبرګولی|غبرگولی|Khordad|Jawza|Ghbargolay",
		"تیر|سرطان|چنګاښ|چنگاښ|Tir|Saratan|Chungash",
		"مرداد|امرداد|اسد|زمری|Mordad|Amordad|Asad|Zmaray",
		"شهریور|سنبله|وږی|Shahrivar|Shahriwar|Sonbola|Sunbula|Wazhay",
		"مهر|میزان|تله|Mehr|Mizan|Tala",
		"آبان|عقرب|لړم|Aban|Aqrab|Laram",
		"آذر|قوس|لیندۍ|لیندی|Azar|Qaws|Qaus|Qows|Lindey",
		"دی|جدی|مرغومی|Dey|Dei|Jadi|Jady|Jadey|Marghumay",
		"بهمن|دلو|سلواغه|Bahman|Dalw|Dalv|Salwagha",
		"اسفند|حوت|کب|Esfand|Hut|Hoot|Kab",
	}

	// Arabic and Persian spelling, and Latin letters.
	hijriMonths = [...]string{
		"محرم|المحرم|محرم الحرام|Muharram|al-Muharram|Moharram",
		"صفر|Safar",
		"ربيع الأول|Rabi al-Awwal|Rabi' al-awal|Rabi ul-Awwal|Rabi I",
		"ربيع الآخر|ربيع الثاني|Rabi al-Thani|Rabi al-Akhir|Rabi al-Akhar|Rabi ul-Thani|Rabi us-Sani|Rabi II",
		"جمادى الأولى|جمادى الأول|Jumada al-Ula|Jumada al-Awwal|Jumada al-Oula|Jumada ul-Awwal|Jumada I",
		"جمادى الآخرة|جمادى الآخر|جمادى الثانية|جمادى الثاني|Jumada al-Akhirah|Jumada al-Akhira|Jumada al-Thani|Jumada al-Thaniyah|Jumada us-Sani|Jumada II",
		"رجب|Rajab",
		"شعبان|Shaban|Sha'aban",
		"رمضان|Ramadan|Ramadhan|Ramzan|Ramazan",
		"شوال|Shawwal|Shawal",
		"ذو القعدة|ذي القعدة|ذوالقعده|ذيقعده|Dhu al-Qadah|Dhu al-Qidah|Dhul Qadah|Dhul Qidah|Dhul-Qaada|Dhu al-Qaada|Zul Qada|Zulqadah|Zilqad",
		"ذو الحجة|ذي الحجة|ذوالحجه|ذيحجه|Dhu al-Hijjah|Dhul Hijjah|Dhul Hijja|Dhu al-Hijja|Zul Hijja|Zulhijjah|Zilhaj",
	}

	// Nepali in its colloquial and its Sanskrit spelling, and Latin letters.
	bikramSambatMonths = [...]string{
		"वैशाख|बैशाख|Baisakh|Baishakh|Vaisakh|Vaishakh",
		"जेठ|ज्येष्ठ|जेष्ठ|Jestha|Jeth|Jyestha",
		"असार|आषाढ|अषाढ|Asar|Ashar|Ashadh|Asadh|Asad",
		"साउन|श्रावण|सावन|Shrawan|Srawan|Saun|Sawan|Shravan",
		"भदौ|भाद्र|भाद्रपद|Bhadra|Bhadau|Bhadaw",
		"असोज|आश्विन|अश्विन|Ashwin|Aswin|Asoj|Ashoj|Aashwin",
		"कात्तिक|कार्तिक|कातिक|Kartik|Kattik|Katik",
		"मंसिर|मङ्सिर|मार्ग|मार्गशीर्ष|Mangsir|Mansir|Marga|Margashirsha",
		"पुस|पुष|पूस|पौष|Poush|Push|Pus|Paush|Poos",
		"माघ|Magh|Mag",
		"फागुन|फाल्गुन|फाल्गुण|Falgun|Phalgun|Fagun|Phagun|Phalguna",
		"चैत|चैत्र|Chaitra|Chait|Chaitr",
	}
)

// fold brings the spellings of a name together: it keeps letters and digits, and of those that
// are told apart by case, accents, vowel points or the keyboard only, one.
func fold(name string) string {
	var b strings.Builder
	for _, r := range name {
		r = unicode.ToLower(r)
		switch {
		case r < 0x80:
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				b.WriteByte(byte(r))
			}
		case strings.ContainsRune(latinAccents, r):
			b.WriteByte(latinPlain[strings.Index(latinAccents, string(r))/2])
		case r >= 0x1200 && r < 0x1380:
			b.WriteRune(ethiopicTwin(r))
		case r == '\u0621', unicode.Is(unicode.Lm, r): // hamza on the line, a stretched line, half rings
		case r >= 0x0600 && r < 0x0700:
			if r = arabicTwin(r); unicode.IsLetter(r) {
				b.WriteRune(r)
			}
		case unicode.IsLetter(r), unicode.Is(unicode.M, r) && r >= 0x0900 && r < 0x0980:
			b.WriteRune(r) // a vowel sign of Devanagari is part of the name
		}
	}
	return b.String()
}

// The letters of latinAccents are two bytes each; their plain twins stand in the same place.
const (
	latinAccents = "àáâãäåāçèéêëēìíîïīñòóôõöōùúûüū"
	latinPlain   = "aaaaaaaceeeeeiiiiinoooooouuuuu"
)

// ethiopicTwin returns the letter that sounds alike and is written in place of r: of the three
// h, the two s, the two ts and the two vowel carriers.
func ethiopicTwin(r rune) rune {
	switch {
	case r >= 0x1210 && r <= 0x1217:
		r -= 0x10
	case r >= 0x1280 && r <= 0x1287:
		r -= 0x80
	case r >= 0x1220 && r <= 0x1227:
		r += 0x10
	case r >= 0x12D0 && r <= 0x12D7:
		r -= 0x30
	case r >= 0x1340 && r <= 0x1347:
		r -= 0x08
	}
	switch r {
	case 0x1203: // the fourth order of h and of the carrier sound as their first
		return 0x1200
	case 0x12A3:
		return 0x12A0
	}
	return r
}

// arabicTwin returns the letter that is written in place of r where the keyboard, the language
// or haste has another form.
func arabicTwin(r rune) rune {
	switch r {
	case 'آ', 'أ', 'إ', 'ٱ':
		return 'ا'
	case 'ى', 'ی', 'ې', 'ۍ', 'ئ':
		return 'ي'
	case 'ک', 'ګ', 'گ':
		return 'ك'
	case 'ة', 'ۀ', 'ە':
		return 'ه'
	case 'ؤ':
		return 'و'
	}
	return r
}
